package batch

import (
	"fmt"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
)

// An AlarmRow is one thing that happened to an alarm: what its rule told, what somebody did, or what
// time did. Time, Alarm and N together name it, the same after a replay.
type AlarmRow struct {
	Time     time.Time
	Alarm    string // its id
	N        int64  // counts an alarm's rows
	Action   string // raised, cleared, ack…
	By       string // who did it, "" for the system
	State    string // after it
	Severity string // after it
	Note     string
}

var alarmLogSchema = []arrow.Field{
	{Name: "time", Type: timestampMs}, {Name: "alarm", Type: arrow.BinaryTypes.String}, {Name: "n", Type: arrow.PrimitiveTypes.Int64},
	{Name: "action", Type: dictType}, {Name: "by", Type: dictType}, {Name: "state", Type: dictType}, {Name: "severity", Type: dictType},
	{Name: "note", Type: arrow.BinaryTypes.String},
}

// EncodeAlarmLog returns the rows as an Arrow IPC stream.
func EncodeAlarmLog(rows []AlarmRow) ([]byte, error) {
	if len(rows) > MaxRows {
		return nil, fmt.Errorf("encode alarm log: %d rows, want at most %d", len(rows), MaxRows)
	}
	return encode(KindAlarmLog, alarmLogSchema, nil, len(rows), []arrow.Array{
		times(rows, func(r *AlarmRow) time.Time { return r.Time }),
		texts(rows, func(r *AlarmRow) string { return r.Alarm }),
		int64s(values(rows, func(r *AlarmRow) int64 { return r.N })),
		dicts(rows, func(r *AlarmRow) string { return r.Action }),
		dicts(rows, func(r *AlarmRow) string { return r.By }),
		dicts(rows, func(r *AlarmRow) string { return r.State }),
		dicts(rows, func(r *AlarmRow) string { return r.Severity }),
		texts(rows, func(r *AlarmRow) string { return r.Note }),
	})
}

// DecodeAlarmLog reads a batch of an alarm log.
func DecodeAlarmLog(data []byte) ([]AlarmRow, error) {
	d, err := decode(KindAlarmLog, alarmLogSchema, data)
	if err != nil {
		return nil, err
	}
	at, alarm, n, action, by, state, severity, note := d.times(0), d.strings(1), d.int64s(2), d.dict(3), d.dict(4), d.dict(5), d.dict(6), d.strings(7)
	if d.err != nil {
		return nil, d.err
	}
	out := make([]AlarmRow, len(at))
	for i := range out {
		out[i] = AlarmRow{
			Time: time.UnixMilli(at[i]).UTC(), Alarm: alarm[i], N: n[i], Action: action.At(i), By: by.At(i),
			State: state.At(i), Severity: severity.At(i), Note: note[i],
		}
	}
	return out, nil
}
