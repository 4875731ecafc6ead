package storage

import (
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// A Within bounds an answer to a part of the city; nil is the whole of it.
type Within struct {
	// Areas are pairs of domain and zone, an empty one being any; Rules are those that raised. Both bound
	// events; empty ones bound nothing.
	Areas [][2]string
	Rules []string
	// Only are the devices that events may be of, where not nil; Except are those that they may not.
	Only, Except []string
	// Devices bound what is kept by device or camera; an empty list is none at all.
	Devices []string
}

// parts adds the conditions on rows that are kept by device or camera.
func (w *where) parts(column string, in *Within) {
	if in != nil {
		w.among(column, in.Devices)
	}
}

// alarms adds that a column is the id of an alarm of the part of the city: as with those that are open, it is of
// where its last event was. Of alarms whose events have all expired nothing is known.
func (w *where) alarms(column string, in *Within) {
	var last where
	last.events(in)
	w.add(column+` IN (SELECT lower(hex(substring(SHA256(concat(rule, '\0', key)), 1, 12)))
		FROM (SELECT rule, key, argMax(domain, (time, id)) AS domain, argMax(zone, (time, id)) AS zone, argMax(device, (time, id)) AS device FROM
			(SELECT time, id, rule, key, domain, zone, device FROM events_log WHERE state IN ('raised', 'updated', 'cleared')) GROUP BY rule, key)`+last.sql()+`)`, last.args...)
}

// A Speaker says which level of some topics names a device: the Level-th, from 1, of topics that the regular
// expression Topics matches; 0 for none. Of several the first that matches counts.
type Speaker struct {
	Topics string
	Level  int
}

// rejected adds that what was rejected came under a topic that names a device of the part of the city. What has no
// such topic is of nobody's part.
func (w *where) rejected(column string, in *Within, speakers []Speaker) {
	switch {
	case in == nil:
		return
	case len(in.Devices) == 0 || len(speakers) == 0:
		w.add("0")
		return
	}
	var of strings.Builder
	var args []any
	for _, s := range speakers {
		of.WriteString("match(" + column + ", ?), ")
		args = append(args, s.Topics)
		if s.Level > 0 {
			of.WriteString("splitByChar('/', " + column + ")[" + strconv.Itoa(s.Level) + "], ")
		} else {
			of.WriteString("'', ")
		}
	}
	w.add("multiIf("+of.String()+"'') IN ?", append(args, tuple(in.Devices))...)
}

// withinBytes is how long a query may be that names the devices of a part of the city; ClickHouse's own
// bound is 256 KiB, which is 10,000 names.
const withinBytes = 64 << 20

func withinSettings(s clickhouse.Settings) clickhouse.Settings {
	s["max_query_size"] = withinBytes
	s["max_ast_elements"] = 10_000_000
	s["max_expanded_ast_elements"] = 10_000_000
	return s
}

// events adds the conditions on rows of events.
func (w *where) events(in *Within) {
	if in == nil {
		return
	}
	var areas []string
	var args []any
	for _, a := range in.Areas {
		var both []string
		for i, column := range []string{"domain", "zone"} {
			if a[i] != "" {
				both = append(both, column+" = ?")
				args = append(args, a[i])
			}
		}
		areas = append(areas, "("+strings.Join(both, " AND ")+")")
	}
	if len(areas) > 0 {
		w.add("("+strings.Join(areas, " OR ")+")", args...)
	}
	if len(in.Rules) > 0 {
		w.among("rule", in.Rules)
	}
	if in.Only != nil {
		w.among("device", in.Only)
	}
	if len(in.Except) > 0 {
		w.add("NOT has(?, device)", in.Except)
	}
}

// among adds that a column is one of values.
func (w *where) among(column string, values []string) {
	if len(values) == 0 {
		w.add("0")
		return
	}
	w.add(column+" IN ?", tuple(values))
}

// tuple is how the client writes a list for IN.
func tuple(values []string) clickhouse.GroupSet {
	set := clickhouse.GroupSet{Value: make([]any, len(values))}
	for i, v := range values {
		set.Value[i] = v
	}
	return set
}
