package privacy

import (
	"fmt"
	"slices"
	"strings"

	"panormus/devices"
)

// Attributes of objects go by these names, whatever the vendor calls them. A purpose keeps only
// those that its policy lists, each by its name; there is no word for all of them.
var attributes = []string{
	"vehicle_type", // saloon, taxi, ambulance…
	"color",        // of a vehicle; colour is the same
	"make", "model",
	"region", // of a plate: country or province
}

// Sensitive are the attributes that tell of people, what somebody looks like or who it is. They are
// kept like the others, where a policy lists them; no shipped one does.
var Sensitive = []string{
	"face", "gender", "age", "clothing", "clothing_upper", "clothing_lower", "hair", "glasses", "hat", "mask", "bag", "beard", "emotion",
	"name", "sub_label", "embedding",
}

// withheld are kept under no purpose as attributes: plates are hashed or sealed, images are none of
// our business.
var withheld = []string{"plate", "plates", "license_plate", "plate_number", "recognized_license_plate", "candidates", "image", "images", "crop", "crops", "snapshot", "thumbnail"}

// spellings are other words for attributes.
var spellings = map[string]string{"colour": "color", "faces": "face", "brand": "make", "type": "vehicle_type", "plate_region": "region", "vehicle_colour": "color", "vehicle_color": "color"}

func canonical(name string) string {
	if c, ok := spellings[name]; ok {
		return c
	}
	return name
}

// checkAttributes reports what of a policy's list is not acceptable. Names that are not known here
// are allowed: a configured mapping may have words of its own.
func checkAttributes(names []string) error {
	if len(names) > maxAttributes {
		return fault("attributes", "%d names, want at most %d", len(names), maxAttributes)
	}
	for i, name := range names {
		where := fmt.Sprintf("attributes[%d]", i)
		switch {
		case name == "" || len(name) > 64 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != "":
			return fault(where, "%.100q, want 1 to 64 of a-z, 0-9 and _, such as %s", name, strings.Join(attributes, ", "))
		case slices.Contains(withheld, name):
			return fault(where, "%q is never kept as an attribute: plates are kept as \"plates\" says, images not at all", name)
		case slices.ContainsFunc(names[:i], func(n string) bool { return canonical(n) == canonical(name) }):
			return fault(where, "%q is there already", name)
		}
	}
	return nil
}

func fault(where, format string, a ...any) error {
	return &devices.FormatError{Where: where, Err: fmt.Errorf(format, a...)}
}
