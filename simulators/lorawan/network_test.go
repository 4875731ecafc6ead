package lorawan

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/brocaar/lorawan"

	"panormus/devices"
)

var noon = time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC)

func aesKey(t *testing.T, s string) (k lorawan.AES128Key) {
	t.Helper()
	if b, err := hex.DecodeString(s); err != nil || copy(k[:], b) != 16 {
		t.Fatalf("key %q: %v", s, err)
	}
	return k
}

// TestFrames opens every node's frames with what the registry was told.
func TestFrames(t *testing.T) {
	n := New(Config{Seed: 3})
	v11, commands, wrong := 0, 0, 0
	for i := range n.nodes {
		nd := &n.nodes[i]
		if nd.path != byGateways {
			continue
		}
		l := nd.device.LoRaWAN
		for slot := nd.slotAt(noon); slot < nd.slotAt(noon)+30; slot++ {
			u := nd.uplink(slot)
			var phy lorawan.PHYPayload
			if err := phy.UnmarshalBinary(bytes.Clone(u.phy)); err != nil {
				t.Fatalf("%s: %v", nd.name, err)
			}
			mac := phy.MACPayload.(*lorawan.MACPayload)
			if got, want := mac.FHDR.FCnt, u.fCnt&0xffff; got != want || mac.FHDR.DevAddr.String() != l.DevAddr || *mac.FPort != u.port {
				t.Fatalf("%s: counter %d, address %s, port %d; want %d, %s, %d", nd.name, got, mac.FHDR.DevAddr, *mac.FPort, want, l.DevAddr, u.port)
			}
			mac.FHDR.FCnt = u.fCnt
			version, f := lorawan.LoRaWAN1_0, l.NwkSKey
			s := f
			if l.MACVersion == "1.1.0" {
				version, f, s = lorawan.LoRaWAN1_1, l.FNwkSIntKey, l.SNwkSIntKey
				v11++
			}
			ok, err := phy.ValidateUplinkDataMIC(version, 0, uint8(u.dataRate()), uint8(u.channel), aesKey(t, f), aesKey(t, s))
			if err != nil || ok != (nd.fault != wrongKey) {
				t.Fatalf("%s, fault %q: MIC right: %v, %v", nd.name, faultNames[nd.fault], ok, err)
			}
			if nd.fault == wrongKey {
				wrong++
				continue
			}
			if u.status {
				commands++
				if len(mac.FHDR.FOpts) != 1 {
					t.Errorf("%s: %d commands, want DevStatusAns", nd.name, len(mac.FHDR.FOpts))
				}
			}
			if err := phy.DecryptFRMPayload(aesKey(t, l.AppSKey)); err != nil {
				t.Fatal(err)
			}
			if got := mac.FRMPayload[0].(*lorawan.DataPayload).Bytes; !bytes.Equal(got, u.payload) {
				t.Fatalf("%s: payload %x, want %x", nd.name, got, u.payload)
			}
		}
	}
	if v11 == 0 || commands == 0 || wrong == 0 {
		t.Errorf("%d frames of 1.1, %d with commands, %d with a wrong key; want some of each", v11, commands, wrong)
	}
}

func TestSameSeedSameNetwork(t *testing.T) {
	a, b, c := New(Config{Seed: 5}), New(Config{Seed: 5}), New(Config{Seed: 6})
	if !reflect.DeepEqual(a.Devices(), b.Devices()) || !reflect.DeepEqual(a.Profiles(), b.Profiles()) {
		t.Error("the same seed made other devices")
	}
	if reflect.DeepEqual(a.Devices(), c.Devices()) {
		t.Error("another seed made the same devices")
	}
	for i := range a.nodes {
		slot := a.nodes[i].slotAt(noon)
		x, y := a.nodes[i].uplink(slot), b.nodes[i].uplink(slot)
		x.node, y.node = nil, nil
		if !reflect.DeepEqual(x, y) {
			t.Fatalf("node %d says %+v and then %+v", i, x, y)
		}
	}
}

func TestDevicesAndProfilesAreAcceptable(t *testing.T) {
	n := New(Config{Seed: 1})
	profiles := map[string]devices.Profile{}
	for _, p := range n.Profiles() {
		if err := p.Check(); err != nil || p.ID != gatewayProfile && !json.Valid(p.Codec) {
			t.Errorf("profile %s: %v, codec %s", p.ID, err, p.Codec)
		}
		profiles[p.ID] = p
	}
	euis, addrs := map[string]bool{}, map[string]int{}
	for _, d := range n.Devices() {
		if err := d.Check(); err != nil {
			t.Error(err)
		}
		if d.Zone == "" || *d.Lat < 38 || *d.Lat > 38.3 || *d.Lon < 13.2 || *d.Lon > 13.5 {
			t.Errorf("%s is not in Palermo: %v, %v", d.ID, *d.Lat, *d.Lon)
		}
		if d.Profile == gatewayProfile {
			continue
		}
		if _, ok := profiles[d.Profile]; !ok || euis[d.LoRaWAN.DevEUI] || len(d.LoRaWAN.DevEUI) != 16 {
			t.Errorf("%s: profile %s, dev_eui %s", d.ID, d.Profile, d.LoRaWAN.DevEUI)
		}
		euis[d.LoRaWAN.DevEUI] = true
		addrs[d.LoRaWAN.DevAddr]++
	}
	shared := 0
	for _, n := range addrs {
		if n > 1 {
			shared++
		}
	}
	if shared != 1 || len(euis) >= 300 || len(euis) < 290 {
		t.Errorf("%d addresses are shared, %d devices; want 1, and some of 300 strangers", shared, len(euis))
	}
}

// TestFieldsAreCredible looks at a day: what is said is in the profile's ranges, meters never run
// back, and somebody hears most of it, often several.
func TestFieldsAreCredible(t *testing.T) {
	n := New(Config{Seed: 2})
	profiles := map[string]devices.Profile{}
	for _, p := range n.Profiles() {
		profiles[p.ID] = p
	}
	sent, heard, several := 0, 0, 0
	for i := range n.nodes {
		nd := &n.nodes[i]
		volume := 0.0
		for slot := nd.slotAt(noon); nd.at(slot).Before(noon.Add(24 * time.Hour)); slot += 7 {
			u := nd.uplink(slot)
			sent++
			if len(u.heard) > 0 {
				heard++
			}
			if len(u.heard) > 1 {
				several++
			}
			for _, h := range u.heard {
				if h.after >= 75*time.Millisecond || h.rssi > -20 || h.rssi < -145 {
					t.Fatalf("%s: reception %+v", nd.name, h)
				}
			}
			if len(u.payload)+13 > 64 {
				t.Fatalf("%s: %d bytes do not fit every data rate", nd.name, len(u.payload))
			}
			for _, f := range u.fields {
				m, ok := profiles[nd.kind.profile].Metrics[f.name]
				if !ok || f.text == "" && !m.InRange(f.value) {
					t.Fatalf("%s at %v: %+v, known: %v", nd.name, u.at, f, ok)
				}
				if f.name == "volume_m3" {
					if f.value < volume {
						t.Fatalf("%s at %v: volume fell from %v to %v", nd.name, u.at, volume, f.value)
					}
					volume = f.value
				}
			}
		}
	}
	if share := float64(heard) / float64(sent); share < 0.9 || share == 1 || several*3 < heard {
		t.Errorf("%d of %d frames were heard, %d by several gateways", heard, sent, several)
	}
}

// TestBooks lets every node send for a day and compares its book with a receiver that knows only
// counters.
func TestBooks(t *testing.T) {
	n := New(Config{Seed: 4})
	for i := range n.nodes {
		nd := &n.nodes[i]
		var want Book
		last, resets := int64(-1), 0
		for slot := nd.slotAt(noon); nd.at(slot).Before(noon.Add(24 * time.Hour)); slot++ {
			u := nd.uplink(slot)
			n.books.keep(u)
			want.Sent++
			if len(u.heard) == 0 {
				continue
			}
			want.Heard++
			switch {
			case nd.fault == wrongKey || nd.fault == stranger:
				want.Refused++
			case int64(u.fCnt) > last:
				last = int64(u.fCnt)
				want.Uplinks++
				want.Observations += u.observations()
				want.Receptions += int64(len(u.heard))
			default:
				// No counter may come near where it was, or what is right depended on the receiver.
				if last-int64(u.fCnt) < 64 {
					t.Fatalf("%s: counter %d after %d", nd.name, u.fCnt, last)
				}
				resets++
				want.Resets++
				want.ResetObservations += u.observations()
				want.ResetReceptions += int64(len(u.heard))
			}
		}
		got := n.books.all[i]
		want.Device, want.Fault = got.Device, got.Fault
		if got != want {
			t.Errorf("book %+v, want %+v", got, want)
		}
		if (nd.fault == resetting) != (resets > 0) {
			t.Errorf("%s, fault %q: %d resets", nd.name, faultNames[nd.fault], resets)
		}
	}
	s := n.Stats()
	if s.Uplinks+s.Resets+s.Refused != s.Heard || s.Observations < 3*s.Uplinks || s.Refused == 0 {
		t.Errorf("sums %+v", s.Book)
	}
}
