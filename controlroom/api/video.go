package api

import (
	"context"
	"time"

	"panormus/controlroom/live"
	"panormus/devices"
)

// Video answers what cameras counted and saw. Where a question names K, figures of fewer objects
// than that, but some, are left out of the answer.
type Video interface {
	// Counts returns cells in order of zone, class and time; those of which nothing is known are left out.
	Counts(ctx context.Context, q CountQuery) ([]VideoCount, error)
	// Heat returns how many different objects were in each cell of the image.
	Heat(ctx context.Context, q HeatQuery) (*Heat, error)
	// At returns how every camera was in the minute that begins at minute, with figures of at least k objects
	// by camera; in no order.
	At(ctx context.Context, minute time.Time, k func(camera string) int) ([]PastCamera, error)
	// Tracks returns a page, newest first, and the cursor of the next, "" after the last. An unknown
	// cursor is an ErrCursor.
	Tracks(ctx context.Context, q TrackQuery, limit int, cursor string) (tracks []VideoTrack, next string, err error)
}

// A CountQuery asks for what was counted in From <= time < To, both at whole steps, in cells of
// Step, or for 0 in one. Zone "" is the whole view; AllZones asks for that and every zone and line.
type CountQuery struct {
	Camera, Zone, Class string
	AllZones            bool
	From, To            time.Time
	Step                time.Duration
	Days                *time.Location // whose clock a Step or Within of 24 hours goes by
	K                   int
	// Within is the width of the next longer steps, 0 for none: a cell that is hidden alone in one of
	// them would be the rest of its sum.
	Within time.Duration
}

// A VideoCount is a cell of counts. Of a Hidden one only its place is told.
type VideoCount struct {
	Time        time.Time
	Zone, Class string
	Hidden      bool
	In, Out     int64
	Present     float64 // mean
	PresentMax  int64
	DwellS      float64 // NaN: nobody left
	SpeedMps    float64 // NaN: not known
	QueueMax    int64
}

// A HeatQuery asks where objects were in From <= time < To, in one hour of the day by the clock of
// Zone, an IANA name, or for -1 at any.
type HeatQuery struct {
	Camera, Class, Zone string
	From, To            time.Time
	Hour, K             int
}

// A Heat is a grid over the image, row by row from the top left: different objects by cell, 0 where
// there were fewer than K. Hidden is in how many cells there were fewer, but some.
type Heat struct {
	Columns, Rows int
	Cells         []int64
	Hidden        int
}

// A TrackQuery asks for tracks that began in From <= time < To.
type TrackQuery struct {
	Camera, Class string
	From, To      time.Time
}

// A VideoTrack is one object's way through a view. Numbers that are not known are NaN.
type VideoTrack struct {
	ID, Class             string
	Start, End            time.Time
	Detections            int64
	Zones                 []string
	SpeedMps, SpeedMaxMps float64
	DistanceM, HeadingDeg float64
	StartX, StartY        float64
	EndX, EndY            float64
}

type cameraHealth struct {
	State      string      `json:"state" enum:"ok,silent,never,tampered,signal_loss,unlawful" doc:"the gravest; unlawful: purpose, legal basis, controller or DPIA reference is missing, nothing is kept"`
	Seen       *live.Stamp `json:"seen" doc:"last metadata, to 10 s; null for a camera that never sent any"`
	FramesPerS *float64    `json:"frames_per_s" doc:"over the last whole 10 s; null for a camera that sends events alone"`
	Silent     bool        `json:"silent" doc:"nothing for 5 minutes, or three of the profile's expected_period"`
	Tampered   bool        `json:"tampered" doc:"covered, moved or out of focus, and not mended since"`
	SignalLoss bool        `json:"signal_loss"`
}

type cameraItem struct {
	ID         string             `json:"id"`
	Name       string             `json:"name"`
	Domain     string             `json:"domain"`
	Zone       string             `json:"zone"`
	Lat        *float64           `json:"lat"`
	Lon        *float64           `json:"lon"`
	HeadingDeg *float64           `json:"heading_deg" doc:"tag heading_deg: where it looks, clockwise from north"`
	FovDeg     *float64           `json:"fov_deg" doc:"tag fov_deg: how wide it sees"`
	RangeM     *float64           `json:"range_m" doc:"tag range_m: how far it sees"`
	Purpose    string             `json:"purpose"`
	LegalBasis string             `json:"legal_basis"`
	Controller string             `json:"controller"`
	DPIARef    string             `json:"dpia_ref"`
	Areas      []devices.Area     `json:"areas" doc:"the city's zones and lines in the image, beside those that the camera has"`
	Alarm      *string            `json:"alarm" doc:"severity of the gravest open episode, or null"`
	Health     cameraHealth       `json:"health"`
	Now        map[string]float64 `json:"now" doc:"newest minute of the whole view: people_in, people_out, people_present and likewise bicycles and vehicles, vehicles_queued; of at least k different objects, or of nobody"`
	Hidden     []string           `json:"hidden" doc:"what is not in now because it would tell of fewer than k objects"`
	K          int                `json:"k" doc:"the purpose's"`
}

type countPoint struct {
	Time       live.Stamp `json:"time" doc:"begin of the step"`
	Hidden     bool       `json:"hidden,omitempty" doc:"fewer objects than k, or hidden so that another step cannot be worked out: the figures are null"`
	In         *int64     `json:"in" doc:"came in, or crossed the line one way"`
	Out        *int64     `json:"out" doc:"left, or crossed the line the other way"`
	Present    *float64   `json:"present" doc:"there on average"`
	PresentMax *int64     `json:"present_max"`
	DwellS     *float64   `json:"dwell_s" doc:"mean stay of those that left; null where nobody did"`
	SpeedMps   *float64   `json:"speed_mps" doc:"mean; null where it is not known"`
	QueueMax   *int64     `json:"queue_max" doc:"most that stood still at once"`
}

type countSeries struct {
	Zone   string       `json:"zone" doc:"the whole view is \"\""`
	Class  string       `json:"class"`
	Points []countPoint `json:"points" doc:"in order of time; steps of which nothing is known are left out"`
}

type countsBody struct {
	Body struct {
		Camera string        `json:"camera"`
		From   live.Stamp    `json:"from"`
		To     live.Stamp    `json:"to"`
		Step   string        `json:"step"`
		K      int           `json:"k" doc:"least number of objects that a step may tell of"`
		Series []countSeries `json:"series" doc:"by zone and class"`
	}
}

type zoneItem struct {
	Zone  string `json:"zone" doc:"zone or line; the whole view is \"\""`
	Class string `json:"class"`
	countPoint
}

type cameraZonesBody struct {
	Body struct {
		Camera string     `json:"camera"`
		From   live.Stamp `json:"from"`
		To     live.Stamp `json:"to"`
		K      int        `json:"k"`
		Zones  []zoneItem `json:"zones" doc:"sums over the time, by zone or line and class"`
	}
}

type heatBody struct {
	Body struct {
		Camera  string     `json:"camera"`
		From    live.Stamp `json:"from"`
		To      live.Stamp `json:"to"`
		Hour    *int       `json:"hour"`
		K       int        `json:"k"`
		Columns int        `json:"columns"`
		Rows    int        `json:"rows"`
		Cells   []int64    `json:"cells" doc:"different objects whose centre was there, row by row from the top left; 0 where fewer than k"`
		Max     int64      `json:"max"`
		Hidden  int        `json:"hidden" doc:"cells with some objects, but fewer than k"`
	}
}

type trackItem struct {
	ID         string     `json:"id"`
	Class      string     `json:"class"`
	Start      live.Stamp `json:"start"`
	End        live.Stamp `json:"end"`
	DurationS  float64    `json:"duration_s"`
	Detections int64      `json:"detections"`
	Zones      []string   `json:"zones" doc:"in order of entry"`
	SpeedMps   *float64   `json:"speed_mps" doc:"mean along the ground; null where that is not known"`
	SpeedMax   *float64   `json:"speed_max_mps"`
	DistanceM  *float64   `json:"distance_m"`
	HeadingDeg *float64   `json:"heading_deg"`
	From       []float64  `json:"from" doc:"x and y in the image, 0 to 1 from the top left"`
	To         []float64  `json:"to"`
}

type tracksBody struct {
	Body struct {
		Tracks []trackItem `json:"tracks"`
		Next   string      `json:"next,omitempty"`
	}
}

type camerasBody struct {
	Body struct {
		Cameras []cameraItem `json:"cameras"`
		Next    string       `json:"next,omitempty"`
	}
}
