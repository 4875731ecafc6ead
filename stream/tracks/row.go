package tracks

import (
	"cmp"
	"math"
	"strings"

	"panormus/stream/batch"
)

// A row is a detection that waits for its turn.
type row struct {
	t, received, expires int64 // Unix ms
	seq                  uint64
	track                string
	more                 *more // nil for most
	lat, lon             float64
	// A row with a centre but no box has a box of no size.
	left, top, right, bottom float32
	score, speed             float32
	zone, word               uint16
	what, class, quality     uint8
}

// more is what few rows tell.
type more struct {
	other, direction  string
	plate, attributes string
	value             float64
	rule              uint16 // a name of the camera's
}

// The kinds of rows, in the order in which those of one instant are taken.
const (
	whatNone uint8 = iota // of no interest here
	whatRename
	whatSplit
	whatFrame
	whatObject
	whatEntered
	whatInside
	whatLine
	whatLeft
	whatPlate
	whatCount
	whatOccupancy
	whatQueue
	whatTrack
	whatMerge
	whatEnd
)

func kindOf(what string) uint8 {
	switch what {
	case batch.WhatObject:
		return whatObject
	case batch.WhatFrame:
		return whatFrame
	case batch.WhatTrack:
		return whatTrack
	case batch.WhatTrackEnd:
		return whatEnd
	case batch.WhatTrackRename:
		return whatRename
	case batch.WhatTrackSplit:
		return whatSplit
	case batch.WhatTrackMerge:
		return whatMerge
	case batch.WhatLineCrossed:
		return whatLine
	case batch.WhatZoneEntered:
		return whatEntered
	case batch.WhatZoneLeft:
		return whatLeft
	case batch.WhatInside:
		return whatInside
	case batch.WhatCount:
		return whatCount
	case batch.WhatOccupancy:
		return whatOccupancy
	case batch.WhatQueue:
		return whatQueue
	case batch.WhatPlate:
		return whatPlate
	}
	return whatNone
}

// Classes by their number; "" is a row that tells none.
var classNames = [...]string{
	"", batch.ClassPerson, batch.ClassHead, batch.ClassFace, batch.ClassBicycle, batch.ClassMotorcycle, batch.ClassCar,
	batch.ClassVan, batch.ClassTruck, batch.ClassBus, batch.ClassTrain, batch.ClassVehicle, batch.ClassAnimal, batch.ClassBag,
	batch.ClassPlate, batch.ClassUnknown,
}

const (
	classNone uint8 = iota
	classPerson
	classHead
	classFace
	classBicycle
	classMotorcycle
	classCar
	classVan
	classTruck
	classBus
	classTrain
	classVehicle
	classAnimal
	classBag
	classPlate
	classUnknown
	classes
)

func classOf(name string) uint8 {
	for i, n := range classNames {
		if n == name {
			return uint8(i)
		}
	}
	return classUnknown
}

func isVehicle(class uint8) bool { return class >= classBicycle && class <= classVehicle }

// isOut reports whether a direction is the one that counts as out; whatever is not counts as in.
func isOut(direction string) bool {
	switch strings.ToLower(direction) {
	case "out", "right_to_left", "down", "righttoleft", "leave", "exit", "backward":
		return true
	}
	return false
}

func (r *row) hasBox() bool { return r.right > r.left && r.bottom > r.top }
func (r *row) placed() bool { return r.left == r.left } // not NaN

// foot is where the object stands in the image, the middle of its box's lower edge.
func (r *row) foot() (x, y float64) { return float64(r.left+r.right) / 2, float64(r.bottom) }

func (r *row) centre() (x, y float64) {
	return float64(r.left+r.right) / 2, float64(r.top+r.bottom) / 2
}

func (r *row) onGround() bool { return r.lat == r.lat && r.lon == r.lon }

func known(f float32) bool { return f == f && !math.IsInf(float64(f), 0) }

// compare orders rows by time and, within an instant, by what they tell alone: the order in which
// they came must not matter.
func (c *camera) compare(a, b *row) int {
	if a.t != b.t {
		return cmp.Compare(a.t, b.t)
	}
	if a.what != b.what {
		return cmp.Compare(a.what, b.what)
	}
	if v := strings.Compare(a.track, b.track); v != 0 {
		return v
	}
	if v := strings.Compare(c.names[a.zone], c.names[b.zone]); v != 0 {
		return v
	}
	if v := cmp.Or(
		cmp.Compare(a.class, b.class), cmp.Compare(b.score, a.score), cmp.Compare(a.left, b.left), cmp.Compare(a.top, b.top),
		cmp.Compare(a.right, b.right), cmp.Compare(a.bottom, b.bottom), cmp.Compare(a.speed, b.speed), cmp.Compare(a.quality, b.quality),
		cmp.Compare(a.lat, b.lat), cmp.Compare(a.lon, b.lon),
	); v != 0 {
		return v
	}
	switch {
	case a.more == nil && b.more == nil:
		return 0
	case a.more == nil:
		return -1
	case b.more == nil:
		return 1
	}
	return cmp.Or(
		strings.Compare(c.names[a.more.rule], c.names[b.more.rule]), strings.Compare(a.more.other, b.more.other),
		strings.Compare(a.more.direction, b.more.direction), cmp.Compare(a.more.value, b.more.value),
		strings.Compare(a.more.plate, b.more.plate), strings.Compare(a.more.attributes, b.more.attributes),
	)
}
