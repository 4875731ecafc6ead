package notify

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	mail "github.com/wneessen/go-mail"
)

type email struct {
	cfg  Email
	host string
	port int
}

func newEmail(cfg Email) (*email, error) {
	host, p, err := net.SplitHostPort(cfg.Server)
	if err != nil {
		return nil, fmt.Errorf("mail server: %w", err)
	}
	port, err := net.LookupPort("tcp", p)
	if err != nil {
		return nil, fmt.Errorf("mail server: %w", err)
	}
	return &email{cfg: cfg, host: host, port: port}, nil
}

// Send implements Sender. A mail has the message's id as its own, which is what mail servers and readers
// know a repeat by, in the domain that it is from.
func (e *email) Send(ctx context.Context, m *Message) error {
	msg := mail.NewMsg()
	if err := errors.Join(msg.From(e.cfg.From), msg.To(e.cfg.To...)); err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	msg.Subject(m.Subject())
	domain := strings.TrimRight(e.cfg.From[strings.LastIndex(e.cfg.From, "@")+1:], "> ")
	msg.SetMessageIDWithValue(m.ID + "@" + domain)
	thread := sha256.Sum256([]byte(m.Receiver + "\x00" + m.group)) // the mails of a group are shown together
	msg.SetGenHeader(mail.HeaderReferences, fmt.Sprintf("<%x@%s>", thread[:16], domain))
	msg.SetDateWithValue(m.Formed.Time)
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetGenHeader("X-Panormus-Group", strconv.Quote(cut(oneLine(m.group), 200)))
	if m.Severity == "critical" && m.Status == StatusFiring {
		msg.SetImportance(mail.ImportanceUrgent)
	}
	msg.SetBodyString(mail.TypeTextPlain, m.Plain())
	opts, err := e.options()
	if err != nil {
		return err
	}
	client, err := mail.NewClient(e.host, opts...)
	if err != nil {
		return fmt.Errorf("mail through %s: %w", e.cfg.Server, err)
	}
	if err := client.DialAndSendWithContext(ctx, msg); err != nil {
		return fmt.Errorf("mail through %s: %w", e.cfg.Server, err)
	}
	return nil
}

func (e *email) options() ([]mail.Option, error) {
	tls, err := tlsConfig(e.cfg.CA, e.host)
	if err != nil {
		return nil, err
	}
	opts := []mail.Option{mail.WithPort(e.port), mail.WithTLSConfig(tls), mail.WithTimeout(defaultTimeout)}
	switch e.cfg.TLS {
	case "tls":
		opts = append(opts, mail.WithSSL())
	case "none":
		opts = append(opts, mail.WithTLSPolicy(mail.NoTLS))
	default:
		opts = append(opts, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	if e.cfg.Username != "" {
		password, err := e.cfg.Password.read()
		if err != nil {
			return nil, err
		}
		opts = append(opts, mail.WithUsername(e.cfg.Username), mail.WithPassword(string(password)), mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover))
	}
	return opts, nil
}

// Close implements Sender.
func (e *email) Close() error { return nil }
