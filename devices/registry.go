package devices

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// ErrNotFound is what the registry answers for an id it does not hold.
var ErrNotFound = errors.New("not found")

// A Store keeps the registry's entries durably and tells of every change, its own included. Keys
// are any non-empty string. It is safe for concurrent use.
type Store interface {
	Put(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error
	// Watch calls change for every entry held and then for every later change, value nil for a
	// removed one, and synced once when all that was held has been told. It blocks until ctx ends.
	Watch(ctx context.Context, change func(key string, value []byte), synced func()) error
}

// An Asset is a device as the workers see it: with its profile resolved. It is immutable.
type Asset struct {
	Device
	// Metrics is the profile's metrics; nil for a device without a known profile.
	Metrics map[string]Metric
	// Period is how often the profile says the device reports; 0 where it says nothing.
	Period Duration
	// Overrides is what the device, its zone and its profile put in place of rules' values; nil for none.
	// It must not be changed.
	Overrides Overrides
	ground    *Ground // what the camera's homography says; nil without a good one
	known     known   // of its secret
}

// A Registry is the cache of devices, profiles and zones. Reads take no lock; writes go to the
// store first and are visible here when the call returns.
type Registry struct {
	store   Store
	log     *slog.Logger
	version atomic.Uint64
	count   atomic.Int64
	assets  sync.Map // id -> *Asset
	euis    sync.Map // dev_eui in lower case -> id
	// certificates are ids of devices by their certificates' fingerprints.
	certificates sync.Map
	slowly       sync.Mutex // see known
	unhashed     sync.Map   // id -> secret of entries that have it in clear
	profiles     sync.Map   // id -> *Profile
	zones        sync.Map   // id -> *Zone
	sharing      sync.Mutex
	shared       map[[2]string]Overrides // by profile and zone; under sharing
	own          sync.Map                // id of devices with overrides of their own -> struct{}
	// overridden counts the changes of entries that have or had overrides.
	overridden atomic.Uint64
	writing    sync.Mutex
	sighted    chan Device
	follow     atomic.Pointer[func(kind Kind, id string)]
	vet        atomic.Pointer[func(Profile) error]
}

// A Kind is one of the kinds of entries.
type Kind uint8

// The kinds of entries.
const (
	KindDevice Kind = iota
	KindProfile
	KindZone
)

// Follow has changed called after every change of an entry, from the goroutine that made it: what
// changed does is done when PutDevice or PutProfile returns. It may be called twice for one change,
// and at once for two of one entry; the registry holds the later one by then. First sights are not
// told until they are registered. There is one follower; call Follow before Run.
func (r *Registry) Follow(changed func(kind Kind, id string)) { r.follow.Store(&changed) }

// sightedBound is how many first sights may wait for the store; one beyond it is registered at a
// later sight, so nothing is lost and nobody waits.
const sightedBound = 65536

// NewRegistry makes a registry over store. It holds nothing until Run.
func NewRegistry(store Store, log *slog.Logger) *Registry {
	return &Registry{store: store, log: log, sighted: make(chan Device, sightedBound)}
}

// Run keeps the cache in step with the store until ctx ends and calls ready once it holds
// everything the store held. It also registers the devices that Sight reports.
func (r *Registry) Run(ctx context.Context, ready func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { r.registerSighted(ctx) })
	synced := func() {
		wg.Go(func() { r.hashSecrets(ctx) })
		ready()
	}
	err := r.store.Watch(ctx, r.apply, synced)
	cancel()
	return err
}

// Lookup returns the asset called id, or nil. Safe on the hot path.
func (r *Registry) Lookup(id string) *Asset {
	if a, ok := r.assets.Load(id); ok {
		return a.(*Asset)
	}
	return nil
}

// LookupDevEUI returns the asset whose LoRaWAN identifier is eui, 16 lower-case hexadecimal digits,
// or nil. Safe on the hot path.
func (r *Registry) LookupDevEUI(eui string) *Asset {
	id, ok := r.euis.Load(eui)
	if !ok {
		return nil
	}
	// The index may be behind; the asset decides.
	if a := r.Lookup(id.(string)); a != nil && a.devEUI() == eui {
		return a
	}
	return nil
}

func (a *Asset) devEUI() string {
	if a.LoRaWAN == nil {
		return ""
	}
	return strings.ToLower(a.LoRaWAN.DevEUI)
}

// Version grows with every change of any entry, for those who cache what they looked up.
func (r *Registry) Version() uint64 { return r.version.Load() }

// Len is how many devices are registered.
func (r *Registry) Len() int { return int(r.count.Load()) }

// Sight registers a device seen for the first time as unclaimed, soon and without blocking, and
// returns the asset to use meanwhile.
func (r *Registry) Sight(domain, id string) *Asset {
	d := Device{ID: id, Domain: domain, Status: Unclaimed}
	a, seen := r.assets.LoadOrStore(id, &Asset{Device: d})
	if !seen {
		r.count.Add(1)
		r.version.Add(1)
		select {
		case r.sighted <- d:
		default: // the store is far behind: forget the sight, the next message repeats it
			if r.assets.CompareAndDelete(id, a) {
				r.count.Add(-1)
			}
		}
	}
	return a.(*Asset)
}

func (r *Registry) registerSighted(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-r.sighted:
			if a := r.Lookup(d.ID); a == nil || a.Status != Unclaimed {
				continue // claimed or removed while it waited
			}
			if err := r.putAndApply(ctx, deviceKey+d.ID, d); err != nil && ctx.Err() == nil {
				r.log.Warn("registering a sighted device", "device", d.ID, "error", err)
			}
		}
	}
}

// PutDevice enters or replaces a device. Write-only fields left blank keep what was held; of a secret a
// hash is kept.
func (r *Registry) PutDevice(ctx context.Context, d Device) error {
	if d.Status == "" {
		d.Status = Claimed
	}
	if err := d.Check(); err != nil {
		return err
	}
	if d.Certificate != "" {
		d.Certificate, _ = fingerprint(d.Certificate) // checked
	}
	var c credential
	if d.Secret != "" { // not while others wait: it may take 10 ms
		if old := r.Lookup(d.ID); old != nil && old.known.credential.is([]byte(d.Secret)) {
			c = old.known.credential // put again, not changed: nobody has to log in anew
		} else {
			c = hashSecret(d.Secret)
		}
		d.Secret = ""
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	if old := r.Lookup(d.ID); old != nil {
		d = d.keepSecrets(old.Device)
		if c == "" {
			c = old.known.credential
		}
	}
	if d.Zone == "" && d.Lat != nil {
		d.Zone = r.zoneAt(*d.Lat, *d.Lon)
	}
	return r.putAndApply(ctx, deviceKey+d.ID, held{d, c})
}

// hashSecrets puts a hash in the place of each secret that the store had in clear, as it once did.
func (r *Registry) hashSecrets(ctx context.Context) {
	r.unhashed.Range(func(id, secret any) bool {
		r.writing.Lock()
		defer r.writing.Unlock()
		a := r.Lookup(id.(string))
		if still, ok := r.unhashed.Load(id); a == nil || !ok || still != secret {
			return ctx.Err() == nil
		}
		if err := r.putAndApply(ctx, deviceKey+a.ID, held{a.Device, hashSecret(secret.(string))}); err != nil && ctx.Err() == nil {
			r.log.Warn("a secret is still kept in clear", "device", a.ID, "error", err)
		}
		return ctx.Err() == nil
	})
}

// zoneAt is the id of the first zone, in order of id, that contains the point, or "".
func (r *Registry) zoneAt(lat, lon float64) string {
	for _, z := range r.Zones() {
		if z.Contains(lat, lon) {
			return z.ID
		}
	}
	return ""
}

// Vet adds to what CheckProfile reports: what whoever uses a profile cannot use.
func (r *Registry) Vet(check func(Profile) error) { r.vet.Store(&check) }

// CheckProfile reports what of p is not acceptable, by itself or for those who use profiles.
func (r *Registry) CheckProfile(p Profile) error {
	if err := p.Check(); err != nil {
		return err
	}
	if check := r.vet.Load(); check != nil {
		return (*check)(p)
	}
	return nil
}

// PutProfile enters or replaces a profile.
func (r *Registry) PutProfile(ctx context.Context, p Profile) error {
	if err := r.CheckProfile(p); err != nil {
		return err
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	return r.putAndApply(ctx, profileKey+p.ID, p)
}

// PutZone enters or replaces a zone.
func (r *Registry) PutZone(ctx context.Context, z Zone) error {
	if err := CheckID(z.ID); err != nil {
		return fmt.Errorf("zone id: %w", err)
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	return r.putAndApply(ctx, zoneKey+z.ID, z)
}

// DeleteDevice removes a device; ErrNotFound if there is none.
func (r *Registry) DeleteDevice(ctx context.Context, id string) error {
	return r.remove(ctx, deviceKey, id, &r.assets)
}

// DeleteProfile removes a profile; devices that name it keep the name.
func (r *Registry) DeleteProfile(ctx context.Context, id string) error {
	return r.remove(ctx, profileKey, id, &r.profiles)
}

// DeleteZone removes a zone; devices that name it keep the name.
func (r *Registry) DeleteZone(ctx context.Context, id string) error {
	return r.remove(ctx, zoneKey, id, &r.zones)
}

// Profile returns the profile called id, or nil. It must not be changed.
func (r *Registry) Profile(id string) *Profile {
	if p, ok := r.profiles.Load(id); ok {
		return p.(*Profile)
	}
	return nil
}

// Zone returns the zone called id, or nil. It must not be changed.
func (r *Registry) Zone(id string) *Zone {
	if z, ok := r.zones.Load(id); ok {
		return z.(*Zone)
	}
	return nil
}

// All returns every asset, in order of id.
func (r *Registry) All() []*Asset {
	return sorted(&r.assets, func(a *Asset) string { return a.ID })
}

// Each is every asset, in no order.
func (r *Registry) Each() iter.Seq[*Asset] {
	return func(yield func(*Asset) bool) {
		r.assets.Range(func(_, v any) bool { return yield(v.(*Asset)) })
	}
}

// Profiles returns every profile, in order of id.
func (r *Registry) Profiles() []*Profile {
	return sorted(&r.profiles, func(p *Profile) string { return p.ID })
}

// Zones returns every zone, in order of id.
func (r *Registry) Zones() []*Zone {
	return sorted(&r.zones, func(z *Zone) string { return z.ID })
}

func sorted[T any](m *sync.Map, id func(*T) string) []*T {
	var all []*T
	m.Range(func(_, v any) bool {
		all = append(all, v.(*T))
		return true
	})
	slices.SortFunc(all, func(a, b *T) int { return cmp.Compare(id(a), id(b)) })
	return all
}

// The store's keys: a letter for the kind, a colon, the id.
const (
	deviceKey  = "d:"
	profileKey = "p:"
	zoneKey    = "z:"
)

func (r *Registry) putAndApply(ctx context.Context, key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	if err := r.store.Put(ctx, key, b); err != nil {
		return fmt.Errorf("keep %s: %w", key, err)
	}
	r.apply(key, b)
	return nil
}

func (r *Registry) remove(ctx context.Context, prefix, id string, from *sync.Map) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	if _, ok := from.Load(id); !ok {
		return fmt.Errorf("%q: %w", id, ErrNotFound)
	}
	if err := r.store.Delete(ctx, prefix+id); err != nil {
		return fmt.Errorf("remove %q: %w", id, err)
	}
	r.apply(prefix+id, nil)
	return nil
}

// apply puts one entry of the store into the cache. The watcher and the writers both call it, in
// the order of the store for any one key but for a write that overtakes the news of an older one,
// which the news of itself then mends.
func (r *Registry) apply(key string, value []byte) {
	kind, id, ok := strings.Cut(key, ":")
	if !ok {
		return
	}
	var err error
	what := KindDevice
	switch kind + ":" {
	case deviceKey:
		err = r.applyDevice(id, value)
	case profileKey:
		what, err = KindProfile, r.applyProfile(id, value)
	case zoneKey:
		what, err = KindZone, r.applyZone(id, value)
	}
	if err != nil {
		r.log.Error("unreadable registry entry", "key", key, "error", err)
		return
	}
	r.version.Add(1)
	if changed := r.follow.Load(); changed != nil {
		(*changed)(what, id)
	}
}

func (r *Registry) applyDevice(id string, value []byte) error {
	if value == nil {
		if old, had := r.assets.LoadAndDelete(id); had {
			r.count.Add(-1)
			r.euis.CompareAndDelete(old.(*Asset).devEUI(), id)
			r.certificates.CompareAndDelete(old.(*Asset).Certificate, id)
		}
		r.unhashed.Delete(id)
		r.noteOwn(id, nil)
		return nil
	}
	var h held
	if err := json.Unmarshal(value, &h); err != nil {
		return err
	}
	d := h.Device
	r.unhashed.Delete(id)
	if d.Secret != "" && h.Credential == "" {
		r.unhashed.Store(id, d.Secret)
		h.Credential = hashSecret(d.Secret)
	}
	d.Secret = ""
	a := r.resolve(d, h.Credential)
	old, had := r.assets.Swap(id, a)
	if !had {
		r.count.Add(1)
	} else {
		if eui := old.(*Asset).devEUI(); eui != a.devEUI() {
			r.euis.CompareAndDelete(eui, id)
		}
		if c := old.(*Asset).Certificate; c != a.Certificate {
			r.certificates.CompareAndDelete(c, id)
		}
	}
	if a.Certificate != "" {
		r.certificates.Store(a.Certificate, id)
	}
	if eui := a.devEUI(); eui != "" {
		r.euis.Store(eui, id)
	}
	r.noteOwn(id, d.Rules)
	return nil
}

// noteOwn notes whether a device has overrides of its own, after it was changed.
func (r *Registry) noteOwn(id string, rules map[string]RuleOverride) {
	had := false
	if len(rules) > 0 {
		_, had = r.own.Swap(id, struct{}{})
	} else {
		_, had = r.own.LoadAndDelete(id)
	}
	if had || len(rules) > 0 {
		r.overridden.Add(1)
	}
}

func (r *Registry) applyZone(id string, value []byte) error {
	old := r.Zone(id)
	if err := applyTo[Zone](&r.zones, id, value); err != nil {
		return err
	}
	if z := r.Zone(id); old != nil && len(old.Rules) > 0 || z != nil && len(z.Rules) > 0 {
		r.changedOverrides(func(a *Asset) bool { return a.Zone == id })
	}
	return nil
}

func (r *Registry) applyProfile(id string, value []byte) error {
	old := r.Profile(id)
	if err := applyTo[Profile](&r.profiles, id, value); err != nil {
		return err
	}
	if p := r.Profile(id); old != nil && len(old.Rules) > 0 || p != nil && len(p.Rules) > 0 {
		r.changedOverrides(func(a *Asset) bool { return a.Profile == id })
	}
	r.assets.Range(func(key, v any) bool {
		if a := v.(*Asset); a.Profile == id {
			r.assets.CompareAndSwap(key, a, r.resolve(a.Device, a.known.credential))
		}
		return true
	})
	return nil
}

func (r *Registry) resolve(d Device, c credential) *Asset {
	a := &Asset{Device: d, Overrides: r.overrides(d), known: known{credential: c, slowly: &r.slowly}}
	if p := r.Profile(d.Profile); p != nil {
		a.Metrics, a.Period = p.Metrics, p.ExpectedPeriod
	}
	if d.Camera != nil && len(d.Camera.Homography) > 0 {
		a.ground, _ = NewGround(d.Camera.Homography) // checked when it was put; what is older has none
	}
	return a
}

func applyTo[T any](m *sync.Map, id string, value []byte) error {
	if value == nil {
		m.Delete(id)
		return nil
	}
	v := new(T)
	if err := json.Unmarshal(value, v); err != nil {
		return err
	}
	m.Store(id, v)
	return nil
}
