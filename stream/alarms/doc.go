// Package alarms makes of the rules' events what an operator has to answer, after ISA-18.2.
//
//	log: events --> Worker --+                        +--> websocket, HTTP (every control room)
//	operators: Act, acts ----+--> bucket "alarms" ----+
//	clock: expiry, escalation+         |              +--> log: alarm_log --> ClickHouse
//	maintenance, inhibition -+   one key an alarm
//
// There is one alarm a rule and key, however often it is raised. Its states are normal, unacked, acked,
// returned (cleared before anybody acknowledged it: latched), shelved (by an operator, for a time),
// suppressed (by another alarm or a maintenance window) and out_of_service; alarm.go has the whole
// machine, which is pure. Events below Config.From are no alarms.
//
// An alarm's value in the bucket holds the place of the newest event it was made from, so that a
// replay after a kill changes nothing; the Worker moves its position in the events only once all that
// came of them is in the bucket. The Worker alone writes values, each by comparison with the bucket's
// revision. What an operator does is one more value in the bucket, an act, however many alarms it is
// on: it counts for an alarm where that still has the rev that was seen, in the bucket's order, which
// all Books follow; of two who act at once one is told that the alarm changed. One that no value has room for
// is in parts, and its last value does all of it. The Worker writes acts
// into the alarms' values afterwards. What happened to an alarm is kept within its value until it is on
// the log, and comes again under the same name after a kill; whoever reads the table alarm_log sees it
// once.
package alarms
