// Package storage keeps what happened in ClickHouse: its schema and migrations, the writer that
// brings batches in from the log, and the queries that bring answers out.
//
// The database is the embedded one (package embedded) or any server by DSN; the SQL is the same.
//
//	log ──> Writer, one goroutine a kind ──> observations ──> observations_1m ──> observations_1h
//	                                    ├──> detections, plates, tracks, vds_counts_1m
//	                                    └──> events, uplinks, rejected
//
// The writer stores every batch exactly once, rollups included: before a group of batches goes out
// its bounds are recorded, and its insert carries a token made of them, so that what is repeated
// after a crash has the same rows in the same blocks under the same token, which the tables drop.
// Observations lie by the hour, and by device within it; RunSettling sorts a day that is over by four
// hours, which makes a device's week quick to read.
// Rows of video metadata say when they must be gone: EnforceRetention drops them by then, and until
// it has they are in no view, query or export.
//
// While the database is away the writer waits and the log holds what comes.
package storage
