package batch

// Signs are the columns of Detections that tell how a camera is: when it spoke and of what, for
// readers that want nothing of the objects.
type Signs struct {
	Time         []int64
	Camera, What Dict
	Value        []float64
}

// DecodeSigns reads a batch of detections. The other columns, the delicate ones among them, are
// not made into strings at all.
func DecodeSigns(data []byte) (*Signs, error) {
	r, err := decode(KindDetections, detectionsSchema, data)
	if err != nil {
		return nil, err
	}
	s := &Signs{Time: r.times(0), Camera: r.dict(2), What: r.dict(3), Value: r.float64s(22)}
	if r.err != nil {
		return nil, r.err
	}
	return s, nil
}
