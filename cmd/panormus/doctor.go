package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"panormus/cmd/panormus/certs"
	"panormus/storage/embedded"
	streamlog "panormus/stream/log"
)

// errSick ends the doctor's visit when something was found.
var errSick = errors.New("something needs mending: see the marked lines")

// A finding is what one check says: in plain words, and whether it must be mended.
type finding struct {
	what string
	err  error
}

// doctorCommand checks the machine, the settings and every server they point at. It changes
// nothing and takes the flags of run.
func doctorCommand(ctx context.Context, args []string, out io.Writer) error {
	cfg, err := loadConfig("doctor", args, os.LookupEnv, out)
	if err != nil {
		return err
	}
	sick := false
	for _, f := range examine(ctx, cfg) {
		mark := "ok"
		if f.err != nil {
			mark, sick = "!!", true
			fmt.Fprintf(out, "%s  %s: %v\n", mark, f.what, f.err)
			continue
		}
		fmt.Fprintf(out, "%s  %s\n", mark, f.what)
	}
	if sick {
		return errSick
	}
	return nil
}

func examine(ctx context.Context, cfg config) []finding {
	all := []finding{
		{what: fmt.Sprintf("settings: roles %s, data in %s", cfg.Role, cfg.Data)},
		{what: fmt.Sprintf("machine: %d cores, %s/%s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)},
		checkOpenFiles(),
		checkDataDir(cfg.Data),
		checkDisk(cfg.Data),
		checkMasterKey(cfg),
	}
	running, err := readRunInfo(cfg.Data)
	if err == nil && alive(running.PID) {
		all = append(all, finding{what: fmt.Sprintf("a panormus runs here already (process %d, http %s): its ports are not tried", running.PID, running.HTTP)})
	} else {
		for _, l := range []struct{ name, key, addr string }{
			{"HTTP", "http", cfg.HTTP}, {"MQTT", "mqtt", cfg.MQTT},
		} {
			all = append(all, checkListen(l.name, l.key, l.addr))
		}
		all = append(all, checkListenUDP("LoRaWAN packet forwarders (UDP)", "lorawan-udp", cfg.LoRaWANUDP),
			checkListen("LoRa Basics Station", "config (lorawan.station)", cfg.LoRaWAN.Station),
			checkListen("video metadata by HTTP", "config (vds.listen)", cfg.VDS.Listen))
	}
	all = append(all, finding{what: "listeners beyond this machine are protected", err: checkProtected(cfg)})
	all = append(all, checkCertificates(cfg)...)
	if cfg.ClickHouse == "embedded" {
		all = append(all, checkEngine())
	} else {
		all = append(all, checkServer(ctx, "ClickHouse", cfg.ClickHouse, "9000"))
	}
	if cfg.NATS != "embedded" {
		all = append(all, checkNATS(ctx, cfg.NATS))
	}
	for _, b := range cfg.Brokers {
		all = append(all, checkServer(ctx, "MQTT broker", b.URL, "1883"))
	}
	return all
}

// checkCertificates looks at the files of every certificate that the settings name.
func checkCertificates(cfg config) []finding {
	type of struct {
		what  string
		files certs.Files
	}
	all := []of{{"web.tls", cfg.Web.TLS}, {"broker.tls", cfg.Broker.TLS}, {"vds.tls", cfg.VDS.TLS}, {"lorawan.station_tls", cfg.LoRaWAN.StationTLS}}
	for _, b := range cfg.Brokers {
		all = append(all, of{"tls of broker " + redacted(b.URL), b.TLS})
	}
	var out []finding
	for _, c := range all {
		if c.files == (certs.Files{}) {
			continue
		}
		f := finding{what: c.what}
		p, err := c.files.Read()
		switch {
		case err != nil:
			f.err = err
		case !p.Ends.IsZero() && time.Until(p.Ends) < certs.RenewBefore:
			f.err = fmt.Errorf("the certificate runs out on %s, in %d days: renew it", p.Ends.UTC().Format(time.DateOnly), int(time.Until(p.Ends).Hours()/24))
		case !p.Ends.IsZero():
			f.what += ": the certificate is good until " + p.Ends.UTC().Format(time.DateOnly)
		}
		out = append(out, f)
	}
	return out
}

func checkOpenFiles() finding {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return finding{"open files", err}
	}
	f := finding{what: fmt.Sprintf("open files: up to %d, one a connection", l.Cur)}
	if l.Cur < 4096 {
		f.err = fmt.Errorf("%d, want at least 4096: raise it with ulimit -n", l.Cur)
	}
	return f
}

func checkDataDir(dir string) finding {
	f := finding{what: "data folder " + dir + " can be written"}
	existing := dir
	for {
		info, err := os.Stat(existing)
		if err == nil {
			if !info.IsDir() {
				f.err = fmt.Errorf("%s is not a folder", existing)
				return f
			}
			break
		}
		if !errors.Is(err, os.ErrNotExist) || filepath.Dir(existing) == existing {
			f.err = err
			return f
		}
		existing = filepath.Dir(existing)
	}
	probe, err := os.CreateTemp(existing, ".panormus-doctor-*")
	if err != nil {
		f.err = err
		return f
	}
	probe.Close()
	f.err = os.Remove(probe.Name())
	return f
}

func checkDisk(dir string) finding {
	existing := dir
	for {
		if _, err := os.Stat(existing); err == nil || filepath.Dir(existing) == existing {
			break
		}
		existing = filepath.Dir(existing)
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(existing, &st); err != nil {
		return finding{"disk", err}
	}
	free := int64(st.Bavail) * st.Bsize
	f := finding{what: fmt.Sprintf("disk: %.1f GiB free", float64(free)/(1<<30))}
	if free < 2<<30 {
		f.err = errors.New("want at least 2 GiB; ingest waits when it runs out")
	}
	return f
}

func checkListen(name, key, addr string) finding {
	if addr == "none" {
		return finding{what: name + ": not asked for"}
	}
	f := finding{what: fmt.Sprintf("%s: %s is free", name, addr)}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		f.err = listenError(name, key, addr, err)
		return f
	}
	f.err = l.Close()
	return f
}

func checkListenUDP(name, key, addr string) finding {
	if addr == "none" || addr == "" {
		return finding{what: name + ": not asked for"}
	}
	f := finding{what: fmt.Sprintf("%s: %s is free", name, addr)}
	l, err := net.ListenPacket("udp", addr)
	if err != nil {
		f.err = listenError(name, key, addr, err)
		return f
	}
	f.err = l.Close()
	return f
}

// listenError says in plain words why an address could not be taken and what to do about it.
func listenError(name, key, addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s cannot listen on %s: another program has it; stop that, or choose another address with --%s (port 0: any free one)", name, addr, key)
	}
	return fmt.Errorf("%s cannot listen on %s: %w", name, addr, err)
}

// checkNATS also asks how large a message the server takes, which it says to whoever connects.
func checkNATS(ctx context.Context, dsn string) finding {
	f := checkServer(ctx, "NATS", dsn, "4222")
	if f.err != nil {
		return f
	}
	var most int64
	if most, f.err = streamlog.MaxPayload(dsn); f.err != nil {
		return f
	}
	if f.what += fmt.Sprintf(" and takes messages of %d bytes", most); most < streamlog.WantPayload {
		f.err = fmt.Errorf("want %d: set max_payload: 8MB there, else batches are small and large messages are rejected", streamlog.WantPayload)
	}
	return f
}

// checkServer tries whether something answers at the server's address.
func checkServer(ctx context.Context, name, dsn, port string) finding {
	u, err := url.Parse(dsn)
	if err != nil || u.Hostname() == "" {
		return finding{name, fmt.Errorf("%q, want scheme://host:port", redacted(dsn))}
	}
	if u.Port() != "" {
		port = u.Port()
	}
	addr := net.JoinHostPort(u.Hostname(), port)
	f := finding{what: fmt.Sprintf("%s answers at %s", name, addr)}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		f.err = err
		return f
	}
	f.err = c.Close()
	return f
}

// redacted is a URL without its password.
func redacted(dsn string) string {
	if u, err := url.Parse(dsn); err == nil {
		return u.Redacted()
	}
	return "(unreadable address)"
}

func alive(pid int) bool { return pid > 0 && syscall.Kill(pid, 0) == nil }

// checkEngine tries whether the embedded database can be started: its program and its library.
func checkEngine() finding {
	f := finding{what: "embedded ClickHouse: chdbd and libchdb.so are in their place"}
	f.err = embedded.Check(embedded.Config{})
	return f
}
