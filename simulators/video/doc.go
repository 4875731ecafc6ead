// Package video simulates Palermo's cameras: two hundred that watch streets, squares and gates and
// tell what they see as their makers have it. ONVIF's JSON and XML, Axis' scene metadata and Object
// Analytics, Hikvision's alerts over MQTT and pushed over HTTP, Dahua's events, Frigate, DeepStream
// and two plate readers.
//
// What moves in front of a camera at any time is a function of the seed, the camera and the time:
// pedestrians and vehicles on their lanes, with rush hours, crowds, loiterers and drivers on the
// wrong side. A camera remembers only what it has seen: the names of tracks, counters, states. The
// pace and the books belong to Run.
//
// Cameras are as bad as they are: most objects have no class, heads and riders are tracks of their
// own, tracks change their names, split and fall silent, counters restart, states are retained,
// deleted and told again; pictures fail, messages are cut, some cameras have no lawful ground. They
// tell plates, names and genders, and Plates and Names have all that were sent.
package video
