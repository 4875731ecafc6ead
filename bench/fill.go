package main

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	store "panormus/storage"
	"panormus/storage/embedded"
)

// stationStreets is how many streets the stations are in.
const stationStreets = 40

// A filling is what fillWeek wrote.
type filling struct {
	stations        int
	settledDay, end time.Time // the newest day that is settled, and the end of the one after it, which is not
	filled, settled time.Duration
}

// fillWeek writes what stations said in the week up to the end of a day and one message of every light. The days that are over lie as
// settling leaves them, which is how they are written, but for the newest: that is written by the hour, as
// readings come, and settled by the program.
func fillWeek(ctx context.Context, dir string, stations int, end time.Time) (f *filling, err error) {
	binary, err := filepath.Abs("bin/chdbd")
	if err != nil {
		return nil, err
	}
	engine, err := embedded.New(embedded.Config{Dir: dir, Binary: binary})
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(running) }()
	defer func() {
		stop()
		if e := <-ended; err == nil && ctx.Err() == nil {
			err = e
		}
	}()
	if err := engine.Ready(ctx); err != nil {
		return nil, err
	}
	db, err := store.Open(ctx, store.Config{Embedded: engine})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	f = &filling{stations: stations, end: end, settledDay: end.Add(-2 * day)}
	begun := time.Now()
	for midnight := end.Add(-week); midnight.Before(f.settledDay); midnight = midnight.Add(day) {
		for from := midnight; from.Before(midnight.Add(day)); from = from.Add(settledSlot) {
			if err := db.Conn().Exec(ctx, f.readings(from, from.Add(settledSlot), true)); err != nil {
				return nil, fmt.Errorf("fill a settled day: %w", err)
			}
		}
		if err := db.Conn().Exec(ctx, "OPTIMIZE TABLE observations PARTITION ID '"+midnight.Format("20060102")+"' FINAL"); err != nil {
			return nil, fmt.Errorf("merge a settled day: %w", err)
		}
	}
	for from := f.settledDay; from.Before(end); from = from.Add(day) {
		if err := db.Conn().Exec(ctx, f.readings(from, from.Add(day), false)); err != nil {
			return nil, fmt.Errorf("fill a day: %w", err)
		}
	}
	if err := db.Conn().Exec(ctx, insertOf(time.Now().Truncate(pace).Add(-pace), 1, stateDevices, stateDomain, "pole-", "'power_w', 'dimming', 'voltage_v', 'current_a', 'temperature_cel'", false)); err != nil {
		return nil, fmt.Errorf("fill the lights: %w", err)
	}
	f.filled = time.Since(begun)
	begun = time.Now()
	n, err := db.Settle(ctx, end)
	if err != nil {
		return nil, err
	}
	if n != 1 {
		return nil, fmt.Errorf("%d days settled, want the one that was not written so", n)
	}
	f.settled = time.Since(begun)
	return f, nil
}

const day = 24 * time.Hour

// settledSlot is how long the stretches are that a settled day is sorted by.
const settledSlot = 4 * time.Hour

func (f *filling) readings(from, to time.Time, settled bool) string {
	return insertOf(from, int(to.Sub(from)/pace), f.stations, "environment", "station-", "'no2', 'pm10', 'pm2_5', 'o3', 'laeq'", settled)
}

// insertOf is a statement that writes a message of every device in each of some paces from a time on, in the
// order that they come in or in that of a settled stretch.
func insertOf(from time.Time, paces, devices int, domain, prefix, metrics string, settled bool) string {
	each, slot := devices*metricsEach, "toStartOfHour(at)"
	nth := fmt.Sprintf("intDiv(number, %d) AS nth, intDiv(number, %d) %% %d AS device_nr", each, metricsEach, devices)
	if settled {
		slot = fmt.Sprintf("toStartOfInterval(at, toIntervalSecond(%d))", int(settledSlot/time.Second))
		nth = fmt.Sprintf("intDiv(number, %d) %% %d AS nth, intDiv(number, %d) AS device_nr", metricsEach, paces, metricsEach*paces)
	}
	return fmt.Sprintf(`INSERT INTO observations (time, received, domain, device, metric, value, text, quality, slot)
		WITH %s, concat('%s', leftPad(toString(device_nr), 6, '0')) AS who, nth * %d + device_nr * %d + number %% %[4]d AS said
		SELECT fromUnixTimestamp64Milli(toInt64(%[5]d + nth * %[6]d + cityHash64(who) %% %[6]d), 'UTC') AS at, at + toIntervalMillisecond(20 + said %% 280),
			'%[7]s', who, [%[8]s][1 + number %% %[4]d], round(50 + 30 * sin(said / 1000) + said %% 7, 1), '', 0, %[9]s
		FROM numbers(%[10]d) SETTINGS insert_allow_materialized_columns = 1, max_insert_threads = 1, max_threads = 1`,
		nth, prefix, each, metricsEach, from.UnixMilli(), pace.Milliseconds(), domain, metrics, slot, each*paces)
}

// enterDevices registers the lights and the stations.
func (s *system) enterDevices(ctx context.Context, stations int) error {
	type device struct {
		ID     string            `json:"id"`
		Domain string            `json:"domain"`
		Tags   map[string]string `json:"tags,omitempty"`
		Lat    float64           `json:"lat"`
		Lon    float64           `json:"lon"`
	}
	var all struct {
		Devices []device `json:"devices"`
	}
	add := func(id, domain string, tags map[string]string, i int) {
		all.Devices = append(all.Devices, device{id, domain, tags, 38 + float64(i%250)/1000, 13.2 + float64(i/250)/1000})
	}
	for i := range stateDevices {
		add(fmt.Sprintf("pole-%06d", i), stateDomain, nil, i)
	}
	for i := range stations {
		add(station(i), "environment", map[string]string{"street": fmt.Sprintf("via-%02d", i%stationStreets)}, i)
	}
	return s.send(ctx, http.MethodPost, "/api/v1/devices", all)
}
