package ingest

import "panormus/stream/batch"

// Batches of a log that takes less than ours may have are closed by what they come to at most: every name is
// counted as if it were in no row before, so that the batch itself is smaller.

// roomy is from which size of a batch on the log bounds none of ours.
const roomy = 7 << 20

// leastBatch is what a log must take for ingest to be of use.
const leastBatch = 128 << 10

// What a row has beside its texts, and a text beside its bytes, in an Arrow batch; what a batch has beside its rows.
const (
	rowSize       = 40
	detectionSize = 180
	uplinkSize    = 80
	rejectedSize  = 40
	textSize      = 8
	printSize     = 24 // a message's fingerprint
	emptySize     = 16 << 10
)

// measure asks how large a batch the log takes, in bytes, and has the batches that are begun from now on kept to it.
func (p *Pump) measure() int {
	most := p.cfg.Log.MaxBatch()
	if most < roomy {
		p.most.Store(int64(max(1, most-emptySize)))
	} else {
		p.most.Store(0)
	}
	return most
}

// size is what the rows of d add to a batch at most, in bytes. Each of observations, detections and uplinks
// is a batch of its own on the log, and here they are one.
func (d *Decoded) size(t *Topic) int {
	who := len(t.domain) + len(t.device) + 2*textSize
	n := printSize + who*max(1, len(d.Records))
	for i := range d.Values {
		n += rowSize + 2*textSize + len(d.Values[i].Name) + len(d.Values[i].Text)
	}
	for i := range d.Detections {
		r := &d.Detections[i]
		n += detectionSize + who
		for _, s := range [...]string{r.What, r.Track, r.Other, r.Class, r.VendorClass, r.Zone, r.Rule, r.Direction, r.PlateHash, r.PlateSealed, r.Attributes, r.Purpose} {
			n += textSize + len(s)
		}
	}
	for i := range d.Uplinks {
		n += uplinkSize + who + 3*textSize + len(d.Uplinks[i].DevEUI) + len(d.Uplinks[i].Gateway) + len(d.Uplinks[i].DataRate)
	}
	return n
}

func sizeOfRejected(r *batch.Rejected) int {
	return rejectedSize + 5*textSize + len(r.Source) + len(r.Topic) + len(r.Reason) + len(r.Detail) + len(r.Payload)
}
