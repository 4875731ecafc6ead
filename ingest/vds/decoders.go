package vds

import "panormus/ingest"

// Decoders are those of this package, by the names that routes use.
func Decoders() map[string]ingest.Decoder {
	return map[string]ingest.Decoder{
		"axis-scene": axisScene, "axis-track": axisTrack, "axis-event": axisEvent,
		"onvif-event": onvifEvents, "onvif-frame": onvifFrames, "onvif-xml": onvifXML, "hikvision": hikvision,
	}
}
