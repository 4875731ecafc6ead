package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"panormus/simulators/load"
)

// simulateCommand publishes a simulated Palermo, or with --video its cameras, to a broker until it is
// stopped, or, with --load, messages as fast as asked, and reports what was acknowledged and how soon.
func simulateCommand(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("panormus simulate", flag.ContinueOnError)
	fs.SetOutput(out)
	broker := fs.String("mqtt", "127.0.0.1:1883", "address of the broker, host:port or ssl://host:port"+orVariable("PANORMUS_MQTT"))
	devices := fs.Int("devices", 0, "how many devices; 0 for the whole city, or 10,000 (1,000 cameras) under load")
	rate := fs.Float64("rate", 0, "messages a second in all; 0 for each device's own pace, or as fast as it goes under load")
	seed := fs.Int64("seed", 1, "chooses the city, its faults and its values")
	username := fs.String("username", "", "name to give the broker"+orVariable("PANORMUS_USERNAME"))
	passwordFile := fs.String("password-file", "", "file that holds the password to give the broker"+orVariable("PANORMUS_PASSWORD_FILE"))
	secure := tlsAt(fs, "broker")
	cameras := fs.Bool("video", false, "cameras instead of other devices: the city's, or frames of 8 objects under load; --rate is then frames a second")
	loaded := fs.Bool("load", false, "load instead of the city")
	connections := fs.Int("connections", 100, "load: MQTT connections")
	inFlight := fs.Int("inflight", 100, "load: messages a connection sends ahead of their acknowledgements")
	qos := fs.Int("qos", 1, "load: quality of service, 0 or 1")
	duration := fs.Duration("duration", 0, "load: how long; 0 until stopped or --count is reached")
	count := fs.Int64("count", 0, "load: how many messages; 0 for no bound")
	metrics := fs.Int("metrics", 5, "load: metrics a message")
	asJSON := fs.Bool("json", false, "load: report as JSON")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: %w", fs.Arg(0), errUsage)
	}
	if err := fromEnvironment(fs, os.LookupEnv, map[string]string{"mqtt": "PANORMUS_MQTT", "username": "PANORMUS_USERNAME", "password-file": "PANORMUS_PASSWORD_FILE"}, tlsVariables); err != nil {
		return err
	}
	password, err := readPassword(*passwordFile)
	if err != nil {
		return err
	}
	settings, err := secure.config(*broker)
	if err != nil {
		return err
	}
	if !*loaded {
		o := cityOptions{broker: *broker, tls: settings, username: *username, password: password, devices: *devices, rate: *rate, seed: *seed}
		if *cameras {
			return simulateVideo(ctx, o)
		}
		return simulateCity(ctx, o)
	}
	if strings.HasPrefix(*broker, "ws") {
		return fmt.Errorf("--mqtt %s with --load, want host:port or ssl://host:port: load is not sent over websockets", redacted(*broker))
	}
	if *qos != 0 && *qos != 1 {
		return fmt.Errorf("qos %d, want 0 or 1: %w", *qos, errUsage)
	}
	report, err := load.Run(ctx, load.Options{
		Broker: hostOf(*broker), TLS: settings, Username: *username, Password: password, Connections: *connections,
		InFlight: *inFlight, QoS: byte(*qos), Rate: *rate, Duration: *duration, Count: *count,
		Devices: *devices, Metrics: *metrics, Seed: *seed, Video: *cameras,
		Progress: func(p load.Progress) {
			fmt.Fprintf(os.Stderr, "%3.0f s: %d sent, %d acked, %d connected\n", p.Elapsed.Seconds(), p.Sent, p.Acked, p.Connected)
		},
	})
	if err != nil {
		return err
	}
	if *asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(report)
	}
	_, err = fmt.Fprintln(out, report)
	return err
}

func readPassword(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return string(b), nil
}
