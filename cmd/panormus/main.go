// Command panormus is the telemetry and control-room backend of a city, in one binary.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
	_ "time/tzdata" // rules know the hour of the city, on machines that have no time zones too
)

// version is set by the linker.
var version = "dev"

type command struct {
	name, help string
	run        func(ctx context.Context, args []string, out io.Writer) error
}

var commands = []command{
	{"run", "take in, keep, judge and show the city", runCommand},
	{"simulate", "publish a simulated Palermo, or load, to an MQTT broker", simulateCommand},
	{"devices", "the registry: devices import FILE…, devices export; devices claims: codes that let devices in", devicesCommand},
	{"ingest", "replay what was rejected: panormus ingest replay-rejected", ingestCommand},
	{"codec", "test payload codecs or import them: panormus codec test FILE…, codec import DIR or FILE", codecCommand},
	{"rules", "check rules, test them or try them on the past: panormus rules check, test or backtest FILE…", rulesCommand},
	{"audit", "check the audit log: panormus audit verify", auditCommand},
	{"token", "make an API token: panormus token NAME role=viewer [areas=lighting@centro expires=2027-01-31]", tokenCommand},
	{"users", "enter or change local users: panormus users add NAME role=admin, list, passwd, disable or enable NAME", usersCommand},
	{"doctor", "check the machine, the settings and every server they point at", doctorCommand},
	{"version", "print the version", func(_ context.Context, _ []string, out io.Writer) error {
		_, err := fmt.Fprintln(out, version)
		return err
	}},
}

// stopWithin is how long a signalled process may take to end.
const stopWithin = 10 * time.Second

func main() {
	ctx, stop := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		stop()
		select {
		case <-signals:
			os.Exit(1)
		case <-time.After(stopWithin - 200*time.Millisecond):
			// What is not done by now is done by the next start: the log has it.
			slog.Warn("stopping took too long; the rest is caught up at the next start")
			os.Exit(0)
		}
	}()
	os.Exit(dispatch(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// renewals are the hang-up signals, by which certificates are said to have been renewed.
func renewals(ctx context.Context) <-chan struct{} {
	hangups, out := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		defer signal.Stop(hangups)
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangups:
			}
			select {
			case out <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// dispatch runs the command that args name and returns the process's exit code.
func dispatch(ctx context.Context, args []string, out, errs io.Writer) int {
	if len(args) == 0 || args[0] == "help" || asksHelp(args[0]) {
		usage(out)
		if len(args) == 0 {
			return 2
		}
		return 0
	}
	for _, c := range commands {
		if c.name != args[0] {
			continue
		}
		err := c.run(ctx, args[1:], out)
		switch {
		case err == nil, errors.Is(err, flag.ErrHelp):
			return 0
		case errors.Is(err, errUsage) && len(args) == 2 && asksHelp(args[1]):
			fmt.Fprintf(out, "panormus %s: %v\n", c.name, err) // a command of commands, which says what they are
			return 0
		case errors.Is(err, errUsage):
			fmt.Fprintf(errs, "panormus %s: %v\n", c.name, err)
			return 2
		}
		fmt.Fprintf(errs, "panormus %s: %v\n", c.name, err)
		return 1
	}
	fmt.Fprintf(errs, "panormus: no command %q\n\n", args[0])
	usage(errs)
	return 2
}

func asksHelp(arg string) bool { return arg == "-h" || arg == "-help" || arg == "--help" }

// words parses args, in which flags may stand behind words, and returns the words.
func words(fs *flag.FlagSet, args []string) ([]string, error) {
	var all []string
	for {
		if err := fs.Parse(args); err != nil || fs.NArg() == 0 {
			return all, err
		}
		all, args = append(all, fs.Arg(0)), slices.Clone(fs.Args()[1:])
	}
}

// errUsage marks an error of the command line rather than of the work.
var errUsage = errors.New("see panormus help")

func usage(w io.Writer) {
	fmt.Fprint(w, "Panormus, the telemetry and control-room backend of a city.\n\nUsage: panormus COMMAND [--help]\n\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.help)
	}
}
