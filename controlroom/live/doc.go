// Package live is what the city looks like now: the last value of every metric of every device, the
// rules' open episodes and the newest events, in memory.
//
//	ClickHouse --once, at start--+
//	log: observations -----------+--> State --Collect--> feed (what changed, since when)
//	log: events -----------------+          --List-----> HTTP (what is)
//	log: detections, counts -----+
//	registry --every second------+
//
// Alarms are not here: stream/alarms has them. Of detections only how the cameras are is taken, of counts the newest minute of whole views.
//
// One goroutine applies each stream of the log; any number read. Each device has a lock of its own,
// held for one message or one encoding; nothing locks the whole city. Every device counts its
// messages, and every value remembers at which one it changed, so that "what changed since" needs no
// copy, for any number of readers at any pace.
//
// A reading older than the value held is ignored; one of the same instant replaces it. Values are
// bounded by devices times metrics; a device has at most MaxMetrics, the city at most maxNames names.
// What is beyond is counted in panormus_controlroom_live_ignored_total and still goes to the database.
package live
