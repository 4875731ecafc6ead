package claims

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"panormus/devices"
	"panormus/devices/logins"
)

// A Redemption is what is told with a code.
type Redemption struct {
	Code     string
	Device   string // id or serial number; empty: as the claim says, or made up
	Name     string
	Lat, Lon *float64 // degrees, WGS 84; both or neither
	Remote   string   // address of who redeems
}

// A Redeemed is what came of it.
type Redeemed struct {
	Claim  Claim
	Device devices.Device // as it was entered, without its secret
	Secret string         // told once
}

// Redeem enters the device that a code is for and gives it a secret. note, where not nil, is called before
// anything is done, and keeps it from being done by an error. A device that somebody has entered before is not
// touched, unless the code is for it. Errors are ErrCode, a Wait, ErrInvalid, ErrConflict, note's, or the store's
// or registry's.
func (b *Book) Redeem(ctx context.Context, r Redemption, note func(Claim, string) error) (*Redeemed, error) {
	now := time.Now()
	hash := hashOf(r.Code)
	var c Claim
	ok, wait := b.throttle.Check(logins.Of(r.Remote, ""), now, func() bool {
		b.mu.RLock()
		defer b.mu.RUnlock()
		var known bool
		c, known = b.claims[hash]
		_, used := b.uses[hash]
		return known && !used && now.Before(c.Expires)
	})
	switch {
	case wait > 0:
		return nil, Wait(wait)
	case !ok:
		return nil, ErrCode
	}
	b.redeeming.Lock() // two codes for one id
	defer b.redeeming.Unlock()
	d, err := b.device(c, r)
	if err != nil {
		return nil, err
	}
	if note != nil {
		if err := note(c, d.ID); err != nil {
			return nil, err
		}
	}
	use, err := json.Marshal(Use{Device: d.ID, At: now.UTC().Truncate(time.Millisecond)})
	if err != nil {
		return nil, fmt.Errorf("encode the use of a claim: %w", err)
	}
	won, err := b.store.Create(ctx, useKey+hash, use)
	if err != nil {
		return nil, err
	}
	if !won {
		return nil, ErrCode // somebody else was faster
	}
	b.change(useKey+hash, use)
	out := &Redeemed{Claim: c, Secret: d.Secret}
	if err := b.registry.PutDevice(ctx, d); err != nil {
		// The code is good again; if that cannot be said either, it is used up, and the operator makes another.
		if undo := b.store.Delete(context.WithoutCancel(ctx), useKey+hash); undo == nil {
			b.change(useKey+hash, nil)
		}
		return nil, err
	}
	out.Device = b.registry.Lookup(d.ID).Public()
	return out, nil
}

// device is what is entered for a claim.
func (b *Book) device(c Claim, r Redemption) (devices.Device, error) {
	id := cmp.Or(r.Device, c.Device, c.Domain+"-"+c.ID)
	if c.Device != "" && id != c.Device {
		return devices.Device{}, invalid("device: %.130q, want %q, for which the code is", id, c.Device)
	}
	d := devices.Device{ID: id, Domain: c.Domain, Profile: c.Profile, Zone: c.Zone, Tags: c.Tags}
	switch a := b.registry.Lookup(id); {
	case a == nil || a.Status == devices.Unclaimed && c.Device == "":
	case c.Device == "":
		return d, fmt.Errorf("%w: device %q is entered already: want another id, or a code for this device", ErrConflict, id)
	case a.Status == devices.Disabled || a.Certificate != "":
		return d, fmt.Errorf("%w: device %q is disabled or has a certificate of its own: change that in the registry first", ErrConflict, id)
	default: // it gets another secret, and what is told of it anew
		d = a.Device
		d.Profile, d.Zone = cmp.Or(c.Profile, d.Profile), cmp.Or(c.Zone, d.Zone)
	}
	d.Status, d.Secret = devices.Claimed, devices.NewSecret()
	d.Name = cmp.Or(r.Name, d.Name)
	if r.Lat != nil || r.Lon != nil {
		d.Lat, d.Lon = r.Lat, r.Lon
	}
	if err := d.Check(); err != nil {
		return d, invalid("%w", err)
	}
	return d, nil
}
