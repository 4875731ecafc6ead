package codec

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"

	"panormus/devices"
)

// A Problem is a file of an imported folder that yielded nothing, and why.
type Problem struct {
	File   string
	Detail string
}

func (p Problem) String() string { return p.File + ": " + p.Detail }

// Import reads a folder in the layout of the public device repository and returns a profile for each
// end device with a decoder. dir holds vendor/index.yaml, or is the vendor folder, or one vendor's.
// A profile is called vendor-device; firmware whose codec is not the newest's has one of its own,
// vendor-device-version. What cannot be read, and scripts that do not compile, are problems; a
// vendor of the index without a folder, and a device without a codec, are not. The error is about
// dir itself.
func Import(dir string) ([]devices.Profile, []Problem, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("import %s: %w", dir, err)
	}
	defer root.Close()
	i := importer{root: root, engine: newEngine(), codecs: map[string]json.RawMessage{}}
	base := ""
	if _, err := root.Stat("vendor/index.yaml"); err == nil {
		base = "vendor"
	}
	var index struct {
		Vendors []struct {
			ID string `yaml:"id"`
		} `yaml:"vendors"`
		Devices []string `yaml:"endDevices"`
	}
	if err := readYAML(root, path.Join(base, "index.yaml"), &index); err != nil {
		return nil, nil, fmt.Errorf("import %s: %w", dir, err)
	}
	if len(index.Devices) > 0 {
		abs, err := os.Getwd()
		name := path.Base(dir)
		if name == "." && err == nil {
			name = path.Base(abs)
		}
		i.vendor(base, name)
	}
	for _, v := range index.Vendors {
		folder := path.Join(base, v.ID)
		if !plainID.MatchString(v.ID) {
			i.problem(path.Join(base, "index.yaml"), "vendor %.40q: want lower-case letters, digits, _ and -", v.ID)
		} else if _, err := root.Stat(folder); err == nil {
			i.vendor(folder, v.ID)
		}
	}
	return i.profiles, i.problems, nil
}

// plainID is what vendors and devices are called.
var plainID = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$`)

type importer struct {
	root     *os.Root
	engine   *engine
	codecs   map[string]json.RawMessage // by file; nil where it is a problem or has no decoder
	profiles []devices.Profile
	problems []Problem
}

func (i *importer) problem(file, format string, args ...any) {
	i.problems = append(i.problems, Problem{file, fmt.Sprintf(format, args...)})
}

func (i *importer) vendor(folder, vendor string) {
	file := path.Join(folder, "index.yaml")
	var index struct {
		Devices []string `yaml:"endDevices"`
	}
	if err := readYAML(i.root, file, &index); err != nil {
		i.problem(file, "%v", err)
		return
	}
	for _, d := range index.Devices {
		if !plainID.MatchString(d) {
			i.problem(file, "device %.40q: want letters, digits, _, . and -", d)
			continue
		}
		i.device(folder, vendor, d)
	}
}

func (i *importer) device(folder, vendor, device string) {
	file := path.Join(folder, device+".yaml")
	var d struct {
		Firmware []struct {
			Version  string `yaml:"version"`
			Profiles map[string]struct {
				ID     string `yaml:"id"`
				Vendor string `yaml:"vendorID"` // of the profile, where it is another's
				Codec  string `yaml:"codec"`
			} `yaml:"profiles"`
		} `yaml:"firmwareVersions"`
	}
	if err := readYAML(i.root, file, &d); err != nil {
		i.problem(file, "%v", err)
		return
	}
	var taken []string // codecs that have a profile
	for n := range d.Firmware {
		f := d.Firmware[len(d.Firmware)-1-n] // the newest comes last
		var names []string
		for _, p := range f.Profiles {
			if p.Codec != "" && !slices.Contains(names, p.Codec) {
				names = append(names, p.Codec)
			}
		}
		if len(names) == 0 {
			continue
		}
		slices.Sort(names)
		if len(names) > 1 {
			i.problem(file, "firmware %s names codecs %v by region; %s is taken", f.Version, names, names[0])
		}
		id := vendor + "-" + device
		if slices.Contains(taken, names[0]) {
			continue
		}
		if len(taken) > 0 {
			id += "-" + unfit.ReplaceAllString(f.Version, "_")
		}
		taken = append(taken, names[0])
		if slices.ContainsFunc(i.profiles, func(p devices.Profile) bool { return p.ID == id }) {
			continue
		}
		raw := i.codec(folder, names[0])
		if raw == nil {
			continue
		}
		p := devices.Profile{ID: id, Codec: raw}
		if err := p.Check(); err != nil {
			i.problem(file, "%v", err)
			continue
		}
		i.profiles = append(i.profiles, p)
	}
}

// unfit is what a version may hold and an id not.
var unfit = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)

// codec returns the codec field made of a published codec, or nil.
func (i *importer) codec(folder, name string) json.RawMessage {
	if !plainID.MatchString(name) {
		i.problem(folder, "codec %.40q: want letters, digits, _, . and -", name)
		return nil
	}
	file := path.Join(folder, name+".yaml")
	if raw, done := i.codecs[file]; done {
		return raw
	}
	i.codecs[file] = nil
	var p published
	if err := readYAML(i.root, file, &p); err != nil {
		i.problem(file, "%v", err)
		return nil
	}
	if p.Uplink.FileName == "" {
		return nil
	}
	script := path.Join(folder, p.Uplink.FileName)
	b, err := readFile(i.root, script)
	if err != nil {
		i.problem(file, "%v", err)
		return nil
	}
	raw, err := json.Marshal(string(b))
	if err == nil {
		var c Codec
		if c, err = i.engine.Compile(raw); err == nil {
			if js, ok := c.(*jsCodec); ok {
				i.engine.forget(js)
			}
		}
	}
	if err != nil {
		i.problem(script, "%v", err)
		return nil
	}
	i.codecs[file] = raw
	return raw
}
