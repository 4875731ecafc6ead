package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"

	"panormus/cmd/panormus/certs"
)

// tlsFlags are the flags of a command that says how a server is spoken to over TLS.
type tlsFlags struct {
	files certs.Files
	name  string
}

// tlsVariables are the environment variables of tlsFlags, by flag.
var tlsVariables = map[string]string{"ca": "PANORMUS_CA", "cert": "PANORMUS_CERT", "key": "PANORMUS_KEY", "server-name": "PANORMUS_SERVER_NAME"}

// tlsAt adds the flags to a command's; of is the server.
func tlsAt(fs *flag.FlagSet, of string) *tlsFlags {
	t := &tlsFlags{}
	add := func(to *string, name, help string) { fs.StringVar(to, name, "", help+orVariable(tlsVariables[name])) }
	add(&t.files.CA, "ca", "PEM file of whom to trust to sign the "+of+"'s certificate, instead of the system's")
	add(&t.files.Cert, "cert", "PEM file of a certificate to show the "+of)
	add(&t.files.Key, "key", "PEM file of that certificate's key")
	add(&t.name, "server-name", "name that the "+of+"'s certificate is for, where it is not that of its address")
	return t
}

func orVariable(name string) string { return " (" + name + ", where not given)" }

// fromEnvironment sets flags that were not given from the variables that are set.
func fromEnvironment(fs *flag.FlagSet, environ func(string) (string, bool), variables ...map[string]string) error {
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for _, of := range variables {
		for _, name := range slices.Sorted(maps.Keys(of)) {
			v, ok := environ(of[name])
			if !ok || given[name] {
				continue
			}
			if err := fs.Set(name, v); err != nil {
				return fmt.Errorf("%s: %w", of[name], err)
			}
		}
	}
	return nil
}

// config is how to speak TLS to a server at an address: nil where neither the address nor a flag asks for it.
func (t *tlsFlags) config(address string) (*tls.Config, error) {
	scheme, _, ok := strings.Cut(address, "://")
	secure := ok && slices.Contains([]string{"ssl", "tls", "mqtts", "wss", "https"}, scheme)
	set := t.files != certs.Files{} || t.name != ""
	switch {
	case !secure && !set:
		return nil, nil
	case ok && !secure:
		return nil, fmt.Errorf("--ca, --cert, --key and --server-name are for TLS, and %s speaks none", redacted(address))
	}
	p, err := t.files.Read()
	if err != nil {
		return nil, fmt.Errorf("--ca, --cert, --key: %w", err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: p.Trust, ServerName: t.name}
	if p.Certificate != nil {
		c.Certificates = []tls.Certificate{*p.Certificate}
	}
	return c, nil
}

// hostOf is the host:port of an address that may be a URL.
func hostOf(address string) string {
	if _, host, ok := strings.Cut(address, "://"); ok {
		return strings.TrimSuffix(host, "/")
	}
	return address
}
