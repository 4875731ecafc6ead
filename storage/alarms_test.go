package storage_test

import (
	"testing"
	"time"

	"panormus/storage"
	"panormus/storage/storagetest"
	"panormus/stream/batch"
	"panormus/stream/log/logtest"
)

// TestAlarmLog: rows that come again after a kill, in another batch, are there once.
func TestAlarmLog(t *testing.T) {
	db := storagetest.NewDB(t)
	l := logtest.New(t, nil)
	at := time.Now().UTC().Truncate(time.Second)
	rows := []batch.AlarmRow{
		{Time: at, Alarm: "a", N: 1, Action: "raised", State: "unacked", Severity: "major"},
		{Time: at, Alarm: "a", N: 2, Action: "ack", By: "rosalia", State: "acked", Severity: "major", Note: "on my way"},
		{Time: at, Alarm: "b", N: 1, Action: "raised", State: "unacked", Severity: "warning"},
	}
	for _, some := range [][]batch.AlarmRow{rows[:2], rows} {
		data, err := batch.EncodeAlarmLog(some)
		publish(t, l, batch.KindAlarmLog, data, err)
	}
	w, _ := running(t, db, l, storage.WriterConfig{MaxWait: 10 * time.Millisecond})
	caughtUp(t, w)
	got, err := db.AlarmLog(within(t), "a", 0)
	if err != nil || len(got) != 2 || got[0] != rows[1] || got[1] != rows[0] {
		t.Errorf("%+v, %v; want %+v, newest first", got, err, rows[:2])
	}
	if n := number(t, db, "(SELECT count() FROM alarm_log)"); n != 3 {
		t.Errorf("%v rows, want 3", n)
	}
}
