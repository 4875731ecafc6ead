// Package tracks joins detections into tracks and counts what passes before cameras: it reads
// batches of detections and makes batch.Track and batch.Count rows of them.
//
//	rows -> wait 10 s of event time, in order -> frames -> tracks, visits, events -> minutes -> cells
//
// An Engine is pure: no network and no clock. It is fed batches of the log (Apply) and, for cameras
// that fell silent, the time (Tick). What it makes in the end does not depend on where batches
// begin and end, on the order of rows that are less than 10 s of event time apart, or on restarts.
// A Worker feeds an engine from the log and publishes what comes of it.
//
// # Time
//
// A camera's clock is the newest time it told less 10 s. Rows wait until the clock passes them and
// are then taken in order of time. A row older than the clock is late: up to three minutes after
// the end of its minute it still counts and the minute is told again, beyond that it is dropped and
// counted as late. A row far ahead of its fellows and of our own clock moves the clock only when a
// second one confirms it.
//
// # Tracks
//
// A track is a camera and a vendor's id. One that is not seen for 60 s is over; seen again before,
// it goes on. A rename keeps the identity, a split makes a child that names its parent, a merge ends
// one of two. After an hour a track is told and goes on as a child of itself. The class is the one
// with the greatest sum of scores; unknown loses against any. A head, a face or a plate whose box
// lies mostly in that of a person, a vehicle or something unknown is part of it, and a person above a
// bicycle or a motorcycle in more than half of the frames that show both is its rider: neither is
// told or counted. Objects without a vendor's id make no tracks; their number is an occupancy.
//
// # Counts
//
// A batch.Count is a cell: a camera, a zone or line, a class and a minute of event time. Cells in
// which nothing was are not told. Zone "" is the whole view. Zones are the vendor's, by the rows of
// objects and by events, and the registry's; lines are the vendor's rules and the registry's lines.
//
//   - In and Out: objects that came into the zone and left it; for the view, tracks that began and
//     ended; for lines, crossings one way and the other. Out is known when the object has left for
//     good: the cell is then told again. Vendors' counters add their differences: the first value
//     gives nothing, a lower one is a reset and counts from 0. A counter without a class has Class
//     "", which stands for all classes together: do not add it to those of other classes.
//   - Seen: different objects that were there in the minute.
//   - OccupancyAvg, OccupancyMax: how many were there at once; where the vendor tells it, its word.
//   - Visits, DwellS: stays that ended in the minute and the sum of how long they lasted. Outside for
//     less than a second is not outside.
//   - SpeedSumMps, SpeedN: the sum of the mean speeds in the minute of those whose speed is known.
//   - QueueMax: most objects that stood still at once: slower than 0.5 m/s where the ground is known,
//     or than 1 % of the frame a second, for 3 s; where the vendor tells it, its word.
//
// A later Count of a cell has a greater Version and replaces it whole. A state that was told again
// (devices.QualityRefresh) sets what is so and counts nothing.
//
// # Bounds
//
// Cameras of a partition, tracks, zones, waiting rows and visits of a camera are bounded; at a bound
// the oldest goes and is counted. A waiting row takes 112 bytes, a track some 400, a stay in a minute
// 72: a thousand cameras at 80,000 detections/s hold 90 MB of rows, at 12,000 a sixth of that.
package tracks
