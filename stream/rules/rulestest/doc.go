// Package rulestest runs tests of rules: scripts that load readings, advance time and say which
// events are expected. They are what `panormus rules test` runs, and what the engine is tested with.
//
// A script is made of commands, one a line; # begins a comment. What is indented by two spaces or
// more belongs to the command above it.
//
//	rules [FILE]                  the rules from now on: of a file, named from the script's folder,
//	                              or of the indented lines
//	device ID DOMAIN FIELD=VALUE… enters a device in the registry; fields are zone, profile, name, lat,
//	                              lon, period (how often it reports), tag.NAME and rule:RULE:PARAMETER, what
//	                              it has in place of a rule's own (rule:RULE:enabled=false: the rule is not
//	                              for it)
//	profile ID DOMAIN METRIC=MIN..MAX…
//	                              enters a profile, for rules that are templates, which are then read again
//	zone ID LAT,LON LAT,LON…      enters a zone with the corners of its shape
//	remove ID                     takes one out
//	load DOMAIN/ID TIME METRIC=VALUE…
//	                              a message of a device; received=TIME says when it came, if not at
//	                              once, quality=FLAG marks it as flagged() knows it
//	row KIND DEVICE TIME COLUMN=VALUE…
//	                              a row for rules on: KIND, which is detections, tracks, counts, uplinks or
//	                              events; DEVICE is the camera of the first three, "" for none. An event's
//	                              context is context.NAME=VALUE
//	advance TIME                  moves time on where nothing arrives. The clock of silence begins with the first
//	                              command that has a time, at 0s or before
//	restart                       restarts the engine
//	expect                        the indented events since the last expect, sorted; none: there are none
//
// Times are durations since 2026-09-21 10:00 UTC, a Monday, noon in Palermo, when the sun there rises
// at 4:51 UTC and sets at 17:01. A value is a number where it looks like one, else text; text with
// spaces stands in double quotes, METRIC="two words".
//
// An event is written as
//
//	raised  RULE KEY at TIME by DEVICE: TEXT (REASON)
//
// with `by` only where the key is not the device, and the reason only of an end that no reading
// decided. Events of rules in shadow are shadow_raised and shadow_cleared.
//
// Rules on events are given all that the others raise, and what they raise themselves.
//
// Every script runs three times and must give the same each time: as written, with neighbouring
// messages of a partition in one batch, and with a restart before every command.
package rulestest
