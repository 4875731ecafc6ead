package city

import (
	"math"
	"strconv"
	"time"
)

// Buses (Smart Data Models: Vehicle) go to and fro on their line, stop at its stops, and run late
// when the streets are full.
var buses = class{
	domain: "mobility", profile: "bus", prefix: "bus", digits: 4, count: 250,
	period: [2]time.Duration{5 * time.Second, 10 * time.Second},
	faults: []share{{stuck, 0.008}, {silent, 0.008}, {mute, 0.004}, {slow, 0.008}, {ahead, 0.004}, {garbled, 0.008}},
	say:    sayBus,
}

// A busLine is a number and the avenues it follows, end to end.
type busLine struct {
	number  string
	avenues []string
}

// An avenue that begins with "-" is followed from its end to its beginning.
var busLines = []busLine{
	{"101", []string{"Via Maqueda", "Via Ruggero Settimo", "Via della Libertà", "Viale del Fante"}},
	{"102", []string{"Via Roma"}},
	{"104", []string{"-Corso Vittorio Emanuele", "Corso Calatafimi"}},
	{"108", []string{"-Corso Tukory", "Via Maqueda", "Via Ruggero Settimo", "Via Emerico Amari"}},
	{"109", []string{"Via Maqueda", "Via Ruggero Settimo"}},
	{"122", []string{"Via Dante"}},
	{"124", []string{"-Corso Calatafimi", "Corso Vittorio Emanuele"}},
	{"139", []string{"Via Francesco Crispi", "Via dell'Arenella"}},
	{"164", []string{"Via Notarbartolo", "Via Galileo Galilei"}},
	{"210", []string{"Corso dei Mille"}},
	{"224", []string{"Via Messina Marine"}},
	{"226", []string{"Via Oreto"}},
	{"234", []string{"Corso Tukory", "-Corso Calatafimi"}},
	{"246", []string{"Via Ernesto Basile"}},
	{"307", []string{"Via Leonardo da Vinci"}},
	{"309", []string{"Via Pitrè"}},
	{"530", []string{"Viale Lazio"}},
	{"544", []string{"-Viale dell'Addaura"}},
	{"603", []string{"Viale Strasburgo", "Via Partanna Mondello"}},
	{"616", []string{"Via Sferracavallo"}},
	{"619", []string{"Viale dell'Olimpo"}},
	{"700", []string{"Viale Regina Margherita"}},
	{"704", []string{"Viale della Regione Siciliana"}},
	{"806", []string{"Via della Libertà", "Viale del Fante", "Viale Regina Margherita"}},
	{"812", []string{"Via Imperatore Federico", "Viale Lazio", "Viale Strasburgo"}},
}

// way is a bus line on the ground: the avenues joined, without what a street may not pass.
func (d *drawing) way(b busLine) line {
	var whole line
	for _, name := range b.avenues {
		back := name[0] == '-'
		if back {
			name = name[1:]
		}
		for i, s := range drawnStreets {
			if s.name != name {
				continue
			}
			l := append(line(nil), d.lines[i]...)
			if back {
				for a, z := 0, len(l)-1; a < z; a, z = a+1, z-1 {
					l[a], l[z] = l[z], l[a]
				}
			}
			whole = append(whole, l...)
		}
	}
	var longest line
	for _, l := range cut(whole, d.buildable) {
		if l.length() > longest.length() {
			longest = l
		}
	}
	return longest
}

// putOnLines shares n buses among the lines by their length. Where the registry has a bus is
// somewhere on its line; where it is, it says itself.
func (c *City) putOnLines(k *class, n int) {
	if c.ways == nil {
		for _, b := range busLines {
			c.ways = append(c.ways, c.drawing.way(b))
		}
	}
	total := 0.0
	for _, w := range c.ways {
		total += w.length()
	}
	i, done := 0, 0.0
	for b, w := range c.ways {
		done += w.length()
		for ; i < n && (float64(i)+0.5)/float64(n)*total < done; i++ {
			p, _ := w.at(unit(c.seed, uint64(i), 'l') * w.length())
			a := c.add(k, i, "", p)
			a.line = b
			number := busLines[b].number
			a.device.Name = a.device.ID + ", line " + number
			a.device.Tags = map[string]string{"line": number, "vehicle_type": "bus", "capacity": strconv.Itoa(a.seats())}
		}
	}
}

func (a *asset) seats() int { return []int{60, 90, 105, 140}[hash(a.key, 'z')%4] }

// busStop is how far stops are apart, and busSpeed how fast a bus goes between them without other
// traffic, stops not counted: m and m/s.
const (
	busStop  = 380.0
	busSpeed = 7.5
)

func sayBus(c *City, a *asset, t time.Time, o *object) {
	way := c.ways[a.line]
	length := way.length()
	legs := max(int(math.Round(length/busStop)), 1)
	legLength := length / float64(legs)
	// A leg lasts as long at any hour, so that a bus's place follows from the time alone; rush hours
	// show in what it reports as delay.
	const dwell = 18.0
	legTime := legLength/(busSpeed*within(0.85, 1.15, a.key, 'v')) + dwell
	trip := legTime * float64(legs)
	const layover = 240.0
	round := 2 * (trip + layover)
	into := math.Mod(float64(t.UnixMilli())/1000+within(0, round, a.key, 'r'), round)
	back := into >= trip+layover
	if back {
		into -= trip + layover
	}
	leg := min(int(into/legTime), legs-1)
	f := clamp((into-float64(leg)*legTime-dwell)/(legTime-dwell), 0, 1)
	s := (float64(leg) + f*f*(3-2*f)) * legLength // away gently, and gently to a halt
	speed := 6 * f * (1 - f) * legLength / (legTime - dwell)
	if back {
		s = length - s
	}
	p, direction := way.at(s)
	if back {
		direction = direction.times(-1)
	}
	// Buses keep to the right.
	p = p.minus(direction.left().times(2.5))

	busy := demand(t, 0)
	full := clamp((0.12+0.8*busy)*(1+0.5*within(-1, 1, a.key, uint64(leg), uint64(t.Unix()/int64(round)))), 0, 1.1)
	if into >= trip {
		full = 0 // waiting at the end of the line
	}
	delay := 40 + 420*busy*(1+wander(t, 25*time.Minute, a.key)) + 60*wander(t, 7*time.Minute, a.key, 2)
	o.position(p)
	o.number("speed_mps", speed, 1)
	o.number("heading", math.Mod(bearing(direction), 360), 0)
	o.integer("passengers", int64(full*float64(a.seats())))
	o.number("delay_s", math.Round(delay/5)*5-60, 0)
}
