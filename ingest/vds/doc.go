// Package vds reads what video analytics tell of what they see: objects in frames, tracks, crossed
// lines, counters, tampering. Every vendor's form becomes rows of one model, batch.Detection.
//
// A decoder is a pure function of a message. It reads plates and attributes where the message has
// them; what may be kept is decided behind it, by the camera's purpose. The text of a Reject names
// fields, types and offsets and never quotes a value: it is kept where personal data must not be.
//
// Formats and their traps: ONVIF Profile M and Analytics Service Specification, Axis analytics
// metadata and Object Analytics, Hikvision ISAPI, Dahua HTTP API, Frigate's MQTT documentation,
// DeepStream's minimal schema, Rekor Scout and Plate Recognizer webhooks.
package vds
