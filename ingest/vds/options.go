package vds

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"panormus/ingest"
)

// Options are what decoders cannot know from messages. They are read only once decoders are made.
type Options struct {
	// Frames are the sizes of pictures whose objects are told in pixels, by camera; Any is that of all
	// others. Where the size is known neither here nor from the message, objects have no box.
	Frames map[string]Size
	// FrigateMPH says that Frigate tells speeds in miles per hour, not km/h.
	FrigateMPH bool
}

// Any stands for every camera in Options.Frames.
const Any = "*"

// A Size is that of a picture in pixels.
type Size struct{ Width, Height float64 }

// maxPixels is how wide and high a picture may be.
const maxPixels = 65536

// ParseSize reads a size such as 1280x720.
func ParseSize(s string) (Size, error) {
	w, h, ok := strings.Cut(s, "x")
	width, err1 := strconv.Atoi(w)
	height, err2 := strconv.Atoi(h)
	if !ok || err1 != nil || err2 != nil || width < 1 || height < 1 || width > maxPixels || height > maxPixels {
		return Size{}, fmt.Errorf("%q, want width and height in pixels such as 1280x720", s)
	}
	return Size{float64(width), float64(height)}, nil
}

// frames are Options.Frames.
type frames map[string]Size

// of is the size of a camera's pictures, zero where it is not known.
func (f frames) of(camera string) Size {
	if s, ok := f[camera]; ok {
		return s
	}
	return f[Any]
}

// setPixels gives r a box that is told in pixels of a picture, none where its size is not known.
func (z Size) setPixels(r *ingest.Detection, left, top, right, bottom float64, at int) error {
	if z.Width <= 0 || z.Height <= 0 || z.Width > maxPixels || z.Height > maxPixels {
		return nil
	}
	return setBox(r, left/z.Width, top/z.Height, right/z.Width, bottom/z.Height, at)
}

// place turns the boxes of out's rows, which are in pixels as their message has its picture's size
// where it likes, into ones of the model.
func (z Size) place(out *ingest.Decoded) error {
	nan := float32(math.NaN())
	for i := range out.Detections {
		r := &out.Detections[i]
		left, top, right, bottom := float64(r.BoxLeft), float64(r.BoxTop), float64(r.BoxRight), float64(r.BoxBottom)
		r.BoxLeft, r.BoxTop, r.BoxRight, r.BoxBottom = nan, nan, nan, nan
		if err := z.setPixels(r, left, top, right, bottom, 0); err != nil {
			return err
		}
	}
	return nil
}

// camera is the one that a message comes from, as far as it is known.
func camera(in *ingest.Input, out *ingest.Decoded) string {
	if out.Device != "" {
		return out.Device
	}
	return in.Device
}
