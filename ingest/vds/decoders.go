package vds

import "panormus/ingest"

// Decoders are those of this package, by the names that routes use.
func Decoders(o Options) map[string]ingest.Decoder {
	f := frames(o.Frames)
	return map[string]ingest.Decoder{
		"axis-scene": axisScene, "axis-track": axisTrack, "axis-event": axisEvent,
		"onvif-event": onvifEvents, "onvif-frame": onvifFrames, "onvif-xml": onvifXML, "hikvision": hikvision,
		"frigate-event": frigate{f, o.FrigateMPH}.event, "frigate-review": frigateReview, "frigate-update": frigateUpdate,
		"dahua": dahua, "deepstream": f.deepstream, "rekor": f.rekor, "platerecognizer": f.plateRecognizer,
	}
}
