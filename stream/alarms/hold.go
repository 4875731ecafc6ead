package alarms

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	streamlog "panormus/stream/log"
)

// A Window is a time in which alarms of a zone, a device or a rule call nobody: one of the three. With
// an end it is maintenance, and its alarms are suppressed; without one they are out of service until
// the window is deleted.
type Window struct {
	ID     string    `json:"id"`
	Zone   string    `json:"zone,omitempty"`
	Device string    `json:"device,omitempty"`
	Rule   string    `json:"rule,omitempty"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to,omitzero"`
	Note   string    `json:"note,omitempty"`
	By     string    `json:"by,omitempty"`
}

// Bounds of windows.
const (
	maxWindows = 10_000
	maxWindow  = 366 * 24 * time.Hour
)

// Check reports, as an ErrInvalid, what is wrong with the window.
func (w *Window) Check() error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, a...)...)
	}
	named := 0
	for _, v := range []string{w.Zone, w.Device, w.Rule} {
		if v != "" {
			named++
		}
		if len(v) > maxName*2 {
			return bad("a name of %d bytes, want at most %d", len(v), maxName*2)
		}
	}
	switch {
	case w.ID == "" || len(w.ID) > maxName:
		return bad("id: %d bytes, want 1 to %d", len(w.ID), maxName)
	case named != 1:
		return bad("%d of zone, device and rule are named, want one", named)
	case w.From.IsZero():
		return bad("from: not given")
	case !w.To.IsZero() && (!w.To.After(w.From) || w.To.Sub(w.From) > maxWindow):
		return bad("to: %s, want after from and at most %v later", w.To.Format(time.RFC3339), maxWindow)
	case len(w.Note) > maxNote:
		return bad("note: %d bytes, want at most %d", len(w.Note), maxNote)
	}
	return nil
}

// hold is what the window does at a time to the alarms that it names.
func (w *Window) hold(now time.Time) Hold {
	if now.Before(w.From) || !w.To.IsZero() && !now.Before(w.To) {
		return Hold{}
	}
	if w.To.IsZero() {
		return Hold{OutOfService, clip(w.ID + ": " + w.Note)}
	}
	return Hold{Suppressed, clip("maintenance " + w.ID + ": " + w.Note)}
}

// Keys of the desk.
const (
	windowPrefix = "maintenance/"
	loggedKey    = "logged"
	floodsKey    = "floods"
)

func (b *Book) takeDesk(e streamlog.Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var err error
	switch id, isWindow := strings.CutPrefix(e.Key, windowPrefix); {
	case isWindow && e.Value == nil:
		delete(b.windows, id)
		b.arrangeWindows()
	case isWindow:
		var w Window
		if err = json.Unmarshal(e.Value, &w); err == nil {
			b.windows[id] = w
			b.arrangeWindows()
		}
	case e.Key == loggedKey && e.Value != nil:
		var rev uint64
		if err = json.Unmarshal(e.Value, &rev); err == nil {
			b.logged = max(b.logged, rev)
		}
	case e.Key == floodsKey && e.Value != nil:
		var floods []Span
		if err = json.Unmarshal(e.Value, &floods); err == nil {
			b.history.floods = floods
		}
	}
	if err != nil {
		b.log.Error("an entry of the alarm desk is unreadable and left out", "key", e.Key, "error", err)
	}
}

// arrangeWindows finds windows by what they name. The caller holds the lock.
func (b *Book) arrangeWindows() {
	b.changes++
	b.windowsOf = map[string][]Window{}
	for _, w := range b.windows {
		place := "zone " + w.Zone
		if w.Device != "" {
			place = "device " + w.Device
		} else if w.Rule != "" {
			place = "rule " + w.Rule
		}
		b.windowsOf[place] = append(b.windowsOf[place], w)
	}
}

// Windows returns the maintenance windows, by id.
func (b *Book) Windows() []Window {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.SortedFunc(maps.Values(b.windows), func(x, y Window) int { return cmp.Compare(x.ID, y.ID) })
}

// Window returns one maintenance window.
func (b *Book) Window(id string) (Window, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	w, ok := b.windows[id]
	return w, ok
}

// PutWindow enters or replaces a window. It comes into force within a second or two.
func (b *Book) PutWindow(ctx context.Context, w Window) error {
	if err := w.Check(); err != nil {
		return err
	}
	if _, ok := b.Window(w.ID); !ok && len(b.Windows()) >= maxWindows {
		return fmt.Errorf("%w: there are %d windows, which is the most", ErrInvalid, maxWindows)
	}
	value, err := json.Marshal(w)
	if err != nil {
		return err
	}
	if err := b.desk.Put(ctx, windowPrefix+w.ID, value); err != nil {
		return err
	}
	b.takeDesk(streamlog.Entry{Key: windowPrefix + w.ID, Value: value})
	return nil
}

// DeleteWindow ends a window.
func (b *Book) DeleteWindow(ctx context.Context, id string) error {
	if _, ok := b.Window(id); !ok {
		return ErrNotFound
	}
	if err := b.desk.Delete(ctx, windowPrefix+id); err != nil {
		return err
	}
	b.takeDesk(streamlog.Entry{Key: windowPrefix + id})
	return nil
}

// standing are the alarms whose condition holds, by what they may suppress.
type standing map[string]map[string]struct{}

func atDevice(device string) string   { return "d " + device }
func inZone(rule, zone string) string { return "z " + rule + "\x00" + zone }
func (a *Alarm) stands() (keys []string) {
	if a.Active && a.Device != "" {
		keys = append(keys, atDevice(a.Device))
	}
	if a.Active && a.Zone != "" {
		keys = append(keys, inZone(a.Rule, a.Zone))
	}
	return keys
}

func (s standing) add(a *Alarm) {
	for _, k := range a.stands() {
		if s[k] == nil {
			s[k] = map[string]struct{}{}
		}
		s[k][a.ID] = struct{}{}
	}
}

func (s standing) remove(a *Alarm) {
	for _, k := range a.stands() {
		if delete(s[k], a.ID); len(s[k]) == 0 {
			delete(s, k)
		}
	}
}

// sameStand reports whether two states of an alarm may suppress the same; old may be nil.
func sameStand(old, now *Alarm) bool {
	return old != nil && old.Active == now.Active && old.Device == now.Device && old.Zone == now.Zone
}

// other reports whether another alarm than a stands under k.
func (s standing) other(k string, a *Alarm) bool {
	n := len(s[k])
	if _, own := s[k][a.ID]; own {
		n--
	}
	return n > 0
}

// holdOf is what keeps an alarm from operators now; more are alarms that are about to stand. The
// caller holds the lock.
func (b *Book) holdOf(a *Alarm, now time.Time, parent func(device string) string, more standing) Hold {
	var found Hold
	var places []string
	if len(b.windowsOf) > 0 {
		places = []string{"zone " + a.Zone, "device " + a.Device, "rule " + a.Rule}
	}
	for _, place := range places {
		for _, w := range b.windowsOf[place] {
			if h := w.hold(now); h.State != "" {
				found = stronger(found, h)
			}
		}
	}
	if found.State != "" {
		return found
	}
	if a.Device != "" && parent != nil {
		if p := parent(a.Device); p != "" && (b.stands.other(atDevice(p), a) || more.other(atDevice(p), a)) {
			return Hold{Suppressed, "alarm of its parent " + p}
		}
	}
	if a.Zone == "" {
		return Hold{}
	}
	for _, i := range b.cfg.Inhibit {
		k := inZone(i.By, a.Zone)
		if i.By != a.Rule && (i.Domain == "" || i.Domain == a.Domain) && (b.stands.other(k, a) || more.other(k, a)) {
			return Hold{Suppressed, "alarm of rule " + i.By + " in its zone"}
		}
	}
	return Hold{}
}

// stronger picks one of two holds, always the same: out of service before maintenance, then by name.
func stronger(x, y Hold) Hold {
	if x.State == "" || x.State == Suppressed && y.State == OutOfService || x.State == y.State && y.Why < x.Why {
		return y
	}
	return x
}
