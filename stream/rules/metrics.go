package rules

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the worker's. What the engine counts is read from its Stats when asked, so that every
// rule that runs has its series from the start and one that went has none.
type metrics struct {
	published         atomic.Int64
	skipped           prometheus.Counter
	unreadable        prometheus.Counter
	lost              prometheus.Counter
	checkpointSeconds prometheus.Gauge
	checkpointBytes   prometheus.Gauge
	pause             prometheus.Histogram
	w                 *Worker
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("panormus_rules_"+name, help, labels, nil)
}

var (
	batchesDesc      = desc("batches_total", "Batches evaluated.")
	messagesDesc     = desc("messages_total", "Messages evaluated.")
	observationsDesc = desc("observations_total", "Observations in the batches evaluated.")
	lateDesc         = desc("late_total", "Values that came after a newer one of their metric and were not taken.")
	windowLateDesc   = desc("window_late_total", "Readings of windows that were over, and not taken; a rule each.")
	uncorrectedDesc  = desc("uncorrected_total", "Late readings, inside the lateness, that corrected nothing because what came before was not kept.")
	evictedDesc      = desc("devices_evicted_total", "Devices forgotten because the engine holds as many as it may.")
	refusedDesc      = desc("keys_refused_total", "Keys not opened because their rule has as many as it may.")
	noBaselineDesc   = desc("baselines_refused_total", "Readings of which no baseline is learned because there are as many as may be.")
	publishedDesc    = desc("events_total", "Events published.")
	devicesDesc      = desc("devices", "Devices the engine holds state of.")
	problemsDesc     = desc("problems", "What is wrong with rule files and kept rules now, warnings included.")
	appliedDesc      = desc("applied_sequence", "Sequence of the log up to which everything is evaluated.")
	evaluationsDesc  = desc("evaluations_total", "Evaluations of a rule.", "rule")
	matchesDesc      = desc("matches_total", "Evaluations of a rule that were true.", "rule")
	unknownDesc      = desc("unknown_total", "Evaluations of a rule that lacked a metric.", "rule")
	errorsDesc       = desc("errors_total", "Evaluations of a rule that had an error, a division by zero say.", "rule")
	raisedDesc       = desc("raised_total", "Episodes a rule has raised, replays included.", "rule")
	secondsDesc      = desc("evaluation_seconds_total", "Processor time of a rule's evaluations, by those of them that are timed.", "rule")
	shadowDesc       = desc("shadow_raised_total", "Episodes a rule in shadow has raised, replays included.", "rule")
	failedDesc       = desc("failed", "1 for a rule that failed and was put out of force.", "rule")
	droppedDesc      = desc("sequence_dropped_total", "Messages of a rule's sequence that their key had no room for.", "rule")
	rowsLateDesc     = desc("rows_window_late_total", "Rows of windows that were over, and not taken; a rule each.", "on")
	rowsRefusedDesc  = desc("rows_keys_refused_total", "Keys of rules about rows not opened because their rule has as many as it may.", "on")
	rowsEvictedDesc  = desc("rows_functions_refused_total", "Rows whose functions of a time say nothing because the engine holds as many as it may.", "on")
	ruleLateDesc     = desc("rule_window_late_total", "Readings of a rule's windows and sequences that came when they were over, and were not taken.", "rule")
	correctedDesc    = desc("rule_corrections_total", "Events that late readings made, which change what was told of a rule's episodes.", "rule")
	clearedDesc      = desc("cleared_total", "Episodes of a rule that ended, replays included.", "rule")
)

func newMetrics(w *Worker, reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "panormus_rules_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "panormus_rules_" + name, Help: help})
	}
	m := &metrics{
		w:                 w,
		skipped:           counter("events_skipped_total", "Events of a replay that the log had already."),
		unreadable:        counter("batches_unreadable_total", "Batches of the log that could not be read."),
		lost:              counter("checkpoints_unreadable_total", "Snapshots that could not be read at a start."),
		checkpointSeconds: gauge("checkpoint_duration_seconds", "How long the last checkpoint took to write."),
		checkpointBytes:   gauge("checkpoint_size_bytes", "Size of the last checkpoint."),
		pause: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "panormus_rules_checkpoint_pause_seconds", Help: "How long evaluation waited for a snapshot of a checkpoint.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1},
		}),
	}
	if reg != nil {
		reg.MustRegister(m, m.skipped, m.unreadable, m.lost, m.checkpointSeconds, m.checkpointBytes, m.pause)
	}
	return m
}

// Describe sends the descriptions of what Collect sends.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		batchesDesc, messagesDesc, observationsDesc, lateDesc, windowLateDesc, uncorrectedDesc, evictedDesc, refusedDesc, noBaselineDesc, publishedDesc, devicesDesc,
		problemsDesc, appliedDesc, evaluationsDesc, matchesDesc, unknownDesc, errorsDesc, raisedDesc, clearedDesc, secondsDesc, shadowDesc, failedDesc, droppedDesc, ruleLateDesc, correctedDesc,
	} {
		ch <- d
	}
}

// Collect sends what the engine has counted.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	s := m.w.Stats()
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	count(batchesDesc, s.Batches)
	count(messagesDesc, s.Messages)
	count(observationsDesc, s.Observations)
	count(lateDesc, s.Late)
	count(windowLateDesc, s.WindowLate)
	count(uncorrectedDesc, s.Uncorrected)
	count(evictedDesc, s.Evicted)
	count(refusedDesc, s.KeysRefused)
	count(noBaselineDesc, s.BaselinesRefused)
	count(publishedDesc, uint64(m.published.Load()))
	ch <- prometheus.MustNewConstMetric(devicesDesc, prometheus.GaugeValue, float64(s.Devices))
	problems := 0
	if p, ok := m.w.cfg.Rules.(interface{ Problems() []Problem }); ok {
		problems = len(p.Problems())
	}
	ch <- prometheus.MustNewConstMetric(problemsDesc, prometheus.GaugeValue, float64(problems))
	ch <- prometheus.MustNewConstMetric(appliedDesc, prometheus.GaugeValue, float64(m.w.applied.Load()))
	collectRules(ch, s.Rules)
}

// collectRules sends what each rule has done.
func collectRules(ch chan<- prometheus.Metric, all []RuleStats) {
	for _, r := range all {
		count := func(d *prometheus.Desc, v uint64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), r.ID)
		}
		count(evaluationsDesc, r.Evaluations)
		count(matchesDesc, r.Matches)
		count(unknownDesc, r.Unknown)
		count(errorsDesc, r.Errors)
		if r.Mode == "shadow" {
			count(shadowDesc, r.Raised)
		} else {
			count(raisedDesc, r.Raised)
		}
		count(clearedDesc, r.Cleared)
		count(droppedDesc, r.Dropped)
		count(ruleLateDesc, r.Late)
		count(correctedDesc, r.Corrected)
		ch <- prometheus.MustNewConstMetric(secondsDesc, prometheus.CounterValue, r.Seconds, r.ID)
		failed := 0.0
		if r.Failed != "" {
			failed = 1
		}
		ch <- prometheus.MustNewConstMetric(failedDesc, prometheus.GaugeValue, failed, r.ID)
	}
}

// rowFigures are the figures of rules about rows, under the names of those about devices. Several
// collectors share those names, so it describes none: the registry still refuses two alike.
type rowFigures struct{ w *RowWorker }

// Describe sends nothing.
func (rowFigures) Describe(chan<- *prometheus.Desc) {}

// Collect sends what each rule has done.
func (r rowFigures) Collect(ch chan<- prometheus.Metric) {
	e := r.w.engine.Load()
	if e == nil {
		return
	}
	collectRules(ch, e.Stats())
	c := e.counts.Load()
	for d, n := range map[*prometheus.Desc]uint64{
		rowsLateDesc: c.windowLate.Load(), rowsRefusedDesc: c.keysRefused.Load(), rowsEvictedDesc: c.evicted.Load(),
	} {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), r.w.cfg.On)
	}
}
