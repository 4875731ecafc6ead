package broker

import (
	"crypto/rand"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"panormus/devices"
	"panormus/devices/logins"
)

// A Login is what a client says who it is.
type Login struct {
	User     string
	Password []byte
	// Certificate is the client's, which TLS has found to be signed by whom it was told to trust; nil for none.
	Certificate *x509.Certificate
	Remote      string // address of the client
}

// An Authenticator knows who may connect. It is safe for concurrent use.
type Authenticator interface {
	// Authenticate says who a client is. It fails with ErrRefused or ErrWait.
	Authenticate(Login) (Grant, error)
	// Still reports whether Authenticate would let in as now whom it let in once.
	Still(*Grant) bool
	// Version changes when answers of Still may have changed.
	Version() uint64
}

// Why a client is not let in. Neither says what was wrong: that would help who guesses.
var (
	ErrRefused = errors.New("not known by this name and secret, or by this certificate")
	ErrWait    = errors.New("wrong too often")
)

// Registry is what a Door asks of the registry; *devices.Registry is one.
type Registry interface {
	Lookup(id string) *devices.Asset
	LookupCertificate(fingerprint string) *devices.Asset
	Version() uint64
}

// An Account is a client that is no device: a bridge, a network server, somebody who reads.
type Account struct {
	Name   string `yaml:"name"`
	Rights `yaml:",inline"`
}

// sprayed is how often an address may be wrong about secrets that can be guessed, whatever the names.
const sprayed = 50

// A Door lets in devices by their secret or certificate, each to its own topics only, and accounts by
// password or certificate.
type Door struct {
	registry Registry
	users    *Users
	accounts map[string]*Rights
	own      map[string]string // secrets of parts of the process itself

	strong, weak, addresses logins.Throttle
}

// NewDoor makes a Door. users may be nil; those without an account may do everything. A user of an account
// that has a certificate needs no password.
func NewDoor(registry Registry, users *Users, accounts []Account) (*Door, error) {
	if users == nil {
		users = newUsers()
	}
	d := &Door{registry: registry, users: users, accounts: map[string]*Rights{}, own: map[string]string{}}
	d.addresses.Free = sprayed
	for _, a := range accounts {
		if err := checkName(a.Name); err != nil {
			return nil, fmt.Errorf("MQTT account: %w", err)
		}
		if err := a.Rights.check(); err != nil {
			return nil, fmt.Errorf("MQTT account %q: %w", a.Name, err)
		}
		if d.accounts[a.Name] != nil {
			return nil, fmt.Errorf("MQTT account %q is there twice", a.Name)
		}
		d.accounts[a.Name] = a.Rights.of(a.Name)
	}
	return d, nil
}

// Own makes a name and a secret for a part of the process itself, which may do everything. Call it before the
// broker runs.
func (d *Door) Own(part string) (name, secret string) {
	name, secret = part+"-"+rand.Text(), devices.NewSecret()
	d.own[name] = secret
	return name, secret
}

// Version implements Authenticator.
func (d *Door) Version() uint64 { return d.registry.Version() }

// Authenticate implements Authenticator. A password decides before a certificate does.
func (d *Door) Authenticate(l Login) (Grant, error) {
	if len(l.Password) > 0 {
		return d.byPassword(l)
	}
	if l.Certificate == nil {
		return Grant{}, ErrRefused // no guess
	}
	g, ok := d.byCertificate(l)
	if !ok {
		return Grant{}, ErrRefused
	}
	return g, nil
}

// device finds the device that a user name is: its id, or its domain, a slash and its id.
func (d *Door) device(user string) *devices.Asset {
	domain, id, both := strings.Cut(user, "/")
	if !both {
		id = user
	}
	if a := d.registry.Lookup(id); a != nil && (!both || a.Domain == domain) {
		return a
	}
	return nil
}

func (d *Door) byPassword(l Login) (Grant, error) {
	now := time.Now()
	if a := d.device(l.User); a != nil && a.Locked() {
		right := func() bool { return d.pinned(a, l.Certificate) && a.HasSecret(l.Password) }
		if !a.WeakSecret() {
			ok, wait := d.strong.Check(logins.Of(l.Remote, a.ID), now, right)
			return grantOf(a, ""), refusal(ok, wait)
		}
		ok, wait := d.guarded(l, a.ID, now, right)
		return grantOf(a, ""), refusal(ok, wait)
	}
	if secret, is := d.own[l.User]; is && subtle.ConstantTimeCompare([]byte(secret), l.Password) == 1 {
		return Grant{Name: "user " + l.User}, nil
	}
	ok, wait := d.guarded(l, l.User, now, func() bool { return d.users.knows(l.User, l.Password) })
	return Grant{Name: "user " + l.User, Rights: d.accounts[l.User]}, refusal(ok, wait)
}

// guarded asks right, unless the address was wrong too often about this name or about others.
func (d *Door) guarded(l Login, name string, now time.Time, right func() bool) (ok bool, wait time.Duration) {
	_, all := d.addresses.Check(logins.Of(l.Remote, ""), now, func() bool {
		ok, wait = d.weak.Check(logins.Of(l.Remote, name), now, right)
		return ok || wait > 0 // what was not looked at is no guess
	})
	return ok, max(wait, all)
}

func refusal(ok bool, wait time.Duration) error {
	switch {
	case ok:
		return nil
	case wait > 0:
		return ErrWait
	}
	return ErrRefused
}

// pinned reports whether the certificate may be the device's: it has none of its own, or this one.
func (d *Door) pinned(a *devices.Asset, c *x509.Certificate) bool {
	return a.Certificate == "" || c != nil && a.Certificate == devices.Fingerprint(c.Raw)
}

// byCertificate finds whom a certificate names: the device that it was given to, the first registered one
// among its DNS names and its common name, or the account that its common name is. A user name, where there is
// one, must be the same. A device that is registered only because it published is none: one that was removed
// would be back by its next message.
func (d *Door) byCertificate(l Login) (Grant, bool) {
	c := l.Certificate
	print := devices.Fingerprint(c.Raw)
	a := d.registry.LookupCertificate(print)
	for _, name := range append(c.DNSNames[:len(c.DNSNames):len(c.DNSNames)], c.Subject.CommonName) {
		if a == nil && devices.CheckID(name) == nil {
			a = d.registry.Lookup(name)
		}
	}
	if a != nil {
		ok := a.Status != devices.Disabled && a.Status != devices.Unclaimed && d.pinned(a, c) && (l.User == "" || d.device(l.User) == a)
		return grantOf(a, print), ok
	}
	name := c.Subject.CommonName
	rights := d.accounts[name]
	return Grant{Name: "user " + name, Rights: rights}, rights != nil && (l.User == "" || l.User == name)
}

func grantOf(a *devices.Asset, certificate string) Grant {
	return Grant{Name: "device " + a.ID, Device: a.ID, Domain: a.Domain, asset: a, certificate: certificate}
}

// Still implements Authenticator: a device must be registered, in its domain and with the secret or the
// certificate that it came in with. Users count as long as the process runs.
func (d *Door) Still(g *Grant) bool {
	if g.Device == "" {
		return true
	}
	a := d.registry.Lookup(g.Device)
	switch {
	case a == nil || a.Status == devices.Disabled || a.Domain != g.Domain:
		return false
	case g.certificate != "" && a.Status == devices.Unclaimed:
		return false
	case g.certificate != "":
		return a.Certificate == "" && g.asset.Certificate == "" || a.Certificate == g.certificate
	}
	return a.SameSecret(g.asset) && a.Certificate == g.asset.Certificate
}
