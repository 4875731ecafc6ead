package notify

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
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
	// took is who has a message already that not all have, by its id. What a kill takes of it is mailed once more.
	took map[string]map[string]bool
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
	return &email{cfg: cfg, host: host, port: port, took: map[string]map[string]bool{}}, nil
}

// Send implements Sender. A mail has the message's id as its own, which is what mail servers and readers
// know a repeat by, in the domain that it is from. Where the server refuses some of several addresses, the
// others have mails of their own: nobody goes without because a colleague's address is wrong.
func (e *email) Send(ctx context.Context, m *Message) error {
	if e.took[m.ID] == nil {
		err := e.deliver(ctx, m, e.cfg.To)
		if sent, ok := errors.AsType[*mail.SendError](err); !ok || sent.Reason != mail.ErrSMTPRcptTo || len(e.cfg.To) == 1 {
			return err
		}
		if len(e.took) > maxOutbox { // of messages that died
			clear(e.took)
		}
		e.took[m.ID] = map[string]bool{}
	}
	took := e.took[m.ID]
	var later, never []error
	for _, to := range e.cfg.To {
		if took[to] {
			continue
		}
		err := e.deliver(ctx, m, []string{to})
		sent, ok := errors.AsType[*mail.SendError](err)
		switch {
		case err == nil:
			took[to] = true
		case ok && sent.Reason == mail.ErrSMTPRcptTo && sent.ErrorCode() >= 500:
			never = append(never, err)
		default:
			later = append(later, err)
		}
	}
	if len(later) > 0 || len(took) == 0 {
		return errors.Join(append(later, never...)...)
	}
	delete(e.took, m.ID)
	if len(never) > 0 {
		return &Partly{errors.Join(never...)}
	}
	return nil
}

// deliver mails m in one go: all of to have it, or with an error none.
func (e *email) deliver(ctx context.Context, m *Message, to []string) error {
	msg, err := e.write(m, to)
	if err != nil {
		return err
	}
	opts, err := e.options(ctx)
	if err != nil {
		return err
	}
	client, err := mail.NewClient(e.host, opts...)
	if err != nil {
		return fmt.Errorf("mail through %s: %w", e.cfg.Server, err)
	}
	err = client.DialAndSendWithContext(ctx, msg)
	if err == nil || msg.IsDelivered() { // whatever became of the farewell: the server has it
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("mail through %s: no answer in time: %w", e.cfg.Server, ctx.Err())
	}
	err = fmt.Errorf("mail through %s: %w", e.cfg.Server, err)
	if sent, ok := errors.AsType[*mail.SendError](err); ok && sent.ErrorCode() >= 500 && (sent.Reason == mail.ErrSMTPData || sent.Reason == mail.ErrSMTPDataClose) {
		return &Refused{err} // it has seen the text and does not want it
	}
	return err
}

func (e *email) write(m *Message, to []string) (*mail.Msg, error) {
	msg := mail.NewMsg()
	if err := errors.Join(msg.From(e.cfg.From), msg.To(to...)); err != nil {
		return nil, fmt.Errorf("mail: %w", err)
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
	return msg, nil
}

// options are a client's whose connection ends with ctx: the library bounds how long it dials, and then waits
// for a server that says nothing for ever.
func (e *email) options(ctx context.Context) ([]mail.Option, error) {
	cfg, err := tlsConfig(e.cfg.CA, e.host)
	if err != nil {
		return nil, err
	}
	dial := (&net.Dialer{}).DialContext
	if e.cfg.TLS == "tls" {
		dial = (&tls.Dialer{Config: cfg}).DialContext
	}
	opts := []mail.Option{
		mail.WithPort(e.port), mail.WithTLSConfig(cfg), mail.WithTimeout(maxTimeout),
		mail.WithDialContextFunc(func(dctx context.Context, network, address string) (net.Conn, error) {
			c, err := dial(dctx, network, address)
			if err == nil {
				context.AfterFunc(ctx, func() { _ = c.Close() })
			}
			return c, err
		}),
	}
	switch e.cfg.TLS {
	case "tls": // there is nothing to start, and the library sees that it is there
		opts = append(opts, mail.WithTLSPolicy(mail.TLSOpportunistic))
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
