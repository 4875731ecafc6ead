// Package rules judges the city: it reads observations from the log, holds every device's current
// values, evaluates rules over them and puts events back on the log.
//
//	files, API -> Store -> Set -----+
//	                                v
//	log: observations -> Worker -> Engine (a shard a partition, one for keys that span them) -> log: events
//
// The Engine is pure: no network, no goroutine, no clock but the times it is given. The Worker
// feeds it, publishes its events before it moves its checkpoint, and after a crash replays from the
// checkpoint; event ids are deterministic, so what was published already is recognised and skipped.
//
// # Time
//
// Rules run on event time. A device's time is the newest of its readings; a reading older than the value
// held of its metric does not overwrite it and is counted late. What
// ingest flagged `clock` counts at its receive time. A partition's clock is the greatest event time
// seen in it (never ahead of receipt) less the allowed lateness of 30 s; where nothing arrives, the
// worker moves it by its own clock, likewise 30 s behind.
//
// Conditions on what stands are judged as readings come, since an alarm that is to be seen now cannot wait for
// the lateness. A reading that comes later than others of its device, but inside the lateness, takes the device
// back to where it was then, and all since is judged again in the order of event times; what that changes of what was
// told is told: see Corrections. So when the lateness is over, what was raised and cleared by `when`, `for`
// and `clear` on a device is the same whatever the order of arrival, with functions of a metric and a time, baselines,
// borders and schedules among it.
//
// Rules whose keys span devices, or that ask other devices, are judged twice. Early, as messages come; and surely: the
// shared shard holds what such rules read until the lateness is over and gives it to a second engine in the order of
// event times (settler). What is sure decides, and what was told otherwise is corrected (ledger). So an alarm comes at
// once, and what it comes to is the same whatever the order of arrival, the batches, partitions and restarts. The
// clock is the one of windows whose keys span partitions. The price is a second evaluation and 150 bytes a message
// of the last 30 s, of these rules alone; Config.MaxPast / 4 messages are held, and what there is no room for is given
// on before its time and counted (uncorrected). Rules about rows, and those on observations that ask cameras, are judged
// twice likewise (rowSettler). Of rules that know only the row in hand those rows alone are held that matter to them; of
// those with functions of columns, or that ask other devices, all. Config.MaxPast / 8 rows are held.
//
// Windows are judged when event time passes their end and corrected, sequences wait for the lateness. Those on observations
// that ask other devices, or have functions of what was said before (Rule.ordered), are judged by the settler's second engine; of
// sequences and windows that wait nothing is said before. So are those of rows and of several kinds, by the rowSettler, whose
// clock is then that of the kind furthest behind, and rules on events: see Events. Silence runs on processing time. What is judged surely and has the same time is
// in the order of its devices, and then of what it says. The order of arrival still counts
// for messages of one device that have the same time where the device alone is judged, between rules on events and those of several
// kinds that take events, and beyond the lateness.
//
// `for`: the condition must hold that long. A reading stands until the device's next one, but for at
// most three of its profile's expected periods: a lamp that reported once and then fell silent
// raises when the time is up and its reading still stands, at event time start + for; after a longer
// gap nothing is known of the time between and the condition starts anew. So a `for` shorter than
// the reporting period does not filter a single odd reading.
//
// Unknown: a metric that a device never reported makes a condition neither true nor false, and so
// do a division by zero and every other result that is not a number. Neither changes any state;
// `false && unknown` is false and `true || unknown` true, as in CEL. Such errors are counted by rule.
//
// `absent` runs on processing time, from the receipt of a device's last message, or from the moment
// a claimed device of the rule's domain came into the registry; while the worker was not running or
// lagged, silence does not count: after a start every device has the full time again.
//
// # Windows
//
// A rule with `window` and `let` is judged on what its key's readings came to in a stretch of event
// time: tumbling (size), hopping (size, every), sliding (size; in steps of a sixtieth, a hundredth where that is no whole millisecond, or `every`) or
// session (gap). Windows begin at multiples of their step since 1970, UTC. `when` and `clear` are over
// the lets; a let is one of count, count_distinct, sum, avg, min, max, first, last, stddev (of all, not
// of a sample), percentile(x, p) (nearest rank) and rate (change an hour from the first to the last
// reading), of what a message itself says: values that stand from earlier messages are not in it. count(x)
// counts the messages that have x, count(condition) those of which it is true, count() all. Up to
// 1,024 different values count_distinct and percentile are exact, beyond they are estimates.
//
// A window is judged when event time passes its end, and only if other readings are in it than in the one
// before. It raises if `when` is true, and the episode ends with a window of which it is false (or `clear` true),
// and with one without any readings, of which count is 0 and most else unknown. The event's time is the window's
// end, and its context has the lets and the bounds. Readings that come later, but inside the lateness, judge their
// windows again, and what that changes is told: see Corrections. What comes later still is counted and left out.
// With `late: wait` a window is judged once, when the lateness is over. The clock of windows is a partition's;
// between messages it runs on, so one that falls idle does not hold it; for keys that span partitions it is the
// one furthest behind, but by 10 minutes at most, and one of which nothing comes follows what is received in the
// others. When the lateness is over, the events have come to the same whatever the order of arrival inside it, the
// batches, the partitions and restarts.
//
// # Corrections
//
// An episode keeps its name, context.episode, whatever late readings say of it. `updated` is of one that stands
// and began at another time (context.since; it was raised at context.began), or with other values; `cleared` of one that ends, or ended otherwise
// (context.ended); `raised` again of one that was said to have ended, and has not. One that never was is
// `cleared` with context.withdrawn. context.correction counts them, so the newest event of an episode tells all
// of it; of one that has ended, the newest before the end tells how it began. The events of a key are in such an
// order, on the log and by their times, which is why one may be a millisecond later than what it is about, that
// who knows no episodes knows by the newest whether one stands. Ids are as deterministic as all others: what is
// told depends on the log alone. What was told is kept for corrections while an episode stands, of windows, and for
// the lateness.
//
// # Sequences
//
// `sequence` is messages of one key that follow one another: each step's `when` is of what a message says
// itself, `within` the time since the step before, in the order of event times and once the clock has
// passed them by the lateness. The last message that is a step is the one that the next must follow; no
// message is two steps. `unless` undoes it if it is true of a message from the first step on until its
// `within` after the last; the sequence matches when that time is over, so one step and `unless` is "A and
// not B within T". While one waits for that, no other begins to. A match raises, or keeps up, the key's
// episode, which ends `hold` after the last one (1 minute) or when `clear` is true of a message. Text and
// context have the times of the steps by their names. A key holds 4,096 messages that the clock has not
// passed; more are left out, and counted by rule.
//
// A step may say what it is `on`; the key joins them, and is the registry's zone where none is said, since a
// camera is no door. Where it does not say so and has none of the variables of the kind that the rule is about,
// nor anything near one, it is of observations; and in a rule that says nothing either, one that names class,
// track, camera or what, and only columns of detections, is of those. Such sequences are judged by a worker
// that reads all these kinds in the order in which the log stored them, when the kind furthest behind, by 10
// minutes at most, has passed.
//
// # Functions
//
// rate(x, 10m), delta(x, 10m), ewma(x, 5m), zscore(x, 1h) and stuck(x, 2h) are of a metric's readings over
// time, as of its last one; one older than the lateness is not among them. delta is the change from the first
// reading of the last so long, to a thirty-second of it, and rate the same an hour; both are unknown
// with a single reading. ewma is the mean with weights that fall to 1/e in that time; zscore is how many
// standard deviations, likewise weighted, the reading is from those before it, unknown before the tenth;
// stuck is true once the same value has been read for that long. A rule has 8 of them at most.
// baseline(x) is what the device's metric is expected to be at this hour of the week, by the city's time, and
// baseline_z(x) how many usual spreads x is from that: `flow > baseline(flow) * 1.5`, `abs(baseline_z(flow)) > 4`.
// An hour teaches its mean and range when it is over, an hour of n weeks ago weighs 0.8 to the power of n,
// and one more than three spreads off counts as three. Both are unknown, and the rule does not match, until
// three such hours were seen (three weeks); a worker with a database begins with the six weeks before.
// Config.MaxBaselines are kept, 2.2 kB each; what has no room is counted and stays unknown.
// in_zone("id") and distance_m(lat, lon), in metres, are of where the device is: its metrics position_lat
// and position_lon, else the registry's place.
// enter("id") and leave("id", metres) are true of the message in which the device crossed a zone's border;
// with metres it is out when it is so far from the zone. Its first position tells only where it is.
// In let and sequence functions of a metric are as of the message.
//
// # Parameters
//
// `params` are named constants of a rule, numbers and texts, that a device may have another value of: the
// registry's `rules` of the device, else of its zone, else of its profile, `{"rules": {"hot": {"limit":
// 60}}}`; `{"enabled": false}` exempts it from the rule. A change counts at the device's next message or
// the worker's next tick, for what stands then. The context of an event has the values used. In
// conditions about windows whose key spans devices, a parameter is the rule's own.
//
// # Other devices
//
// zone_avg("no2_ugm3"), neighbours_max("temp_c", 300) and of("gauge-1", "level_mm") are of other devices' latest
// readings: the newest whose event time is not after the reading's that is judged, of the last four, if it
// still stands: for three expected periods of its device, an hour where none is known. Early, what the latest is
// goes by the order of the log, across partitions too: such rules are judged by the shared shard on the
// values that the device had, and their episodes are there, as those of keys that span partitions are. Surely it goes
// by event times: see Time. In lets and steps they are as of the message, in a rule of silence as of
// the tick that takes a device for silent. The board of readings is in checkpoints; it holds Config.MaxDevices of them, 4,096
// devices of a zone and metric, and forgets after Config.Forget.
//
// zone_sum("seen", "person"), a column of counts and a class, is of cameras: of the last minute of their whole
// views; one that is 150 s old is 0. Rules about rows ask as rules on observations do. Where a rule is about one
// kind and asks for another, it is judged by the RowEngine of several kinds, in the order in which the log
// stored them: see rowJoins.
//
// # Schedules and templates
//
// `schedule` says when a rule is judged, in the city's legal time. Outside of it the rule is not judged,
// and what is open ends at the very end, in event time: by the device's next message or the clock, whichever
// passes it first. When it begins again a device is judged at its next message. Windows are of the
// readings inside, and judged if they end inside; a sequence ends with its hold. is_holiday() and
// working_hours() are of the city's calendar or of one that is named.
//
// A rule with `for_each` is a template: text with placeholders that stands for a rule a profile, or a
// metric, under ids that stay the same. The Store expands it anew when the registry's profiles change. `profile`
// is whose devices a rule is about. See docs/rules.md.
//
// # Rows
//
// Rules `on: detections`, `tracks`, `counts`, `uplinks` or `events` are about rows, which are occurrences
// and not values that stand: RowEngine. Their variables are the row's columns and the registry's fields
// of its camera or device; `zone` of detections, counts and events is the row's own, "" where it has none, and then
// `key: zone` is the registry's, but of counts. A row that matches raises its key's
// episode (key: camera or device unless said otherwise, often `track`) or keeps it up; it ends when
// `clear` is true of a row of its key, or when nothing has matched for `hold` of event time (1 minute,
// 150 s on counts). With `for`, rows must go on matching that long without a gap longer than `hold`. A
// state that a camera only tells again is no row. An uplink that several gateways heard is as many rows.
// Rows are judged in the log's order by one worker a kind, and again in the order of their times when the lateness
// is over: see Time. What that changes of what was told is told: see Corrections. `clear` is
// asked where an episode of the key stands; of a row of which both are true it ends one, or `when` begins one. A change
// of rules judges what is held then; what comes later still, though inside the lateness, is judged as it comes.
//
// Windows and sequences of rows are as those of messages; they hold Config.MaxKeys keys a rule. A function
// of a column and a time is of the rows of one thing: a camera's track (detections), class (tracks) or zone
// and class (counts), a device at a gateway, the key of an event's rule; after ten minutes and twice the
// longest time without a row of it, it begins anew. baseline() and baseline_z() are of the same things, but not
// of detections; those of counts, tracks and uplinks begin with the six weeks of the database, those of events are learned
// of the rows that come. in_zone() and distance_m() are of where the row says the
// object is (position_lat and position_lon), else of the registry's place; enter() and leave() are of a track
// of detections that says where it is. In sequences over several kinds functions of messages are of a device.
//
// # Events
//
// Rules `on: events` are about what rules, alarms and others raise: rule, severity, state, domain, device,
// zone, key and text, and context.NAME of the values that an event carries. Events of rules in shadow are
// not among them. What rules say of a time is told and corrected until half a minute and some later, so the events' clock stays
// 90 s further behind: 120 s with the lateness. Early a rule is given events as they come, but for those that only correct;
// surely what the episodes of these came to: a row when one began and one when it ended, none of what was withdrawn, in the
// order of their times. What the second engine says of events it is given itself, at its time, so that no chain of rules has to wait
// for its links one by one; to windows and sequences what a sequence says counts a millisecond later, when it is known to be the last.
// No rule feeds on itself: one that names itself (rule == "…"), or rules that name one another in a circle,
// are refused; and what a rule on events raises says in its context, as `chain`, which such rules it comes
// of: no rule is given an event that comes of it, nor one that comes of 8.
//
// # Keys
//
// An episode belongs to a key. With `key: device` it lives and dies with the device's condition.
// With any other key the condition of a key holds while it holds for at least one of its devices;
// such keys span partitions, are kept in one shared shard and are judged in the log's order. One
// worker therefore gives the same events whatever the partitioning. See Time for what comes late. Where several share the partitions,
// one more has the rules whose keys span them: WorkerConfig.Partitions and Spanning.
//
// # Change of rules
//
// A rule keeps its state while its logic is the same; where the logic changed, raised episodes stay
// open for the new logic to decide and pending ones start anew. Episodes of a rule that was removed,
// disabled or given another key or domain are cleared with an event whose context says why.
//
// # Bounds
//
// Config.MaxDevices devices (beyond it the least recently heard of a sample is forgotten, and
// counted), Config.MaxPast readings to go back to, those of the lateness if they are fewer (beyond it a late
// reading older than they are corrects nothing, and is counted: uncorrected), Config.MaxKeys keys a rule in the shared shard (beyond it a key is not opened, and
// counted), 1,000 steps and 16 lets a window, of which a key holds one pane a step with readings, Config.Forget of silence after which a device without an open episode is forgotten.
package rules
