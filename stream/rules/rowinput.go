package rules

import (
	"context"
	"slices"
	"sync"
	"time"

	"panormus/stream/batch"
	streamlog "panormus/stream/log"
)

// rowInput is how far one kind of rows is evaluated.
type rowInput struct {
	on        string
	kind      batch.Kind
	each      func(data []byte, do func(*Row)) error
	seq, kept uint64
	end       uint64 // of the log when it was first read
}

// open makes the inputs that the rules want now. One that is new is read from the log's end, but for a
// worker that has never been: it begins where the log does.
func (r *rowRun) open(ctx context.Context, at map[string]uint64, been bool) error {
	var next []*rowInput
	for _, on := range r.engine.Inputs() {
		if i := slices.IndexFunc(r.inputs, func(in *rowInput) bool { return in.on == on }); i >= 0 {
			next = append(next, r.inputs[i])
			continue
		}
		in := &rowInput{on: on, kind: batchKind(on), each: eachMessage}
		if k := rowKinds[on]; k != nil {
			in.each = k.each
		}
		var err error
		if in.end, err = r.cfg.Log.LastSeq(ctx, in.kind); err != nil {
			return err
		}
		if seq, ok := at[on]; ok {
			in.seq = seq
		} else if been {
			in.seq = in.end
		}
		in.kept = in.seq
		r.applied[on].Store(in.seq)
		next = append(next, in)
	}
	r.inputs = next
	return nil
}

// seqs is how far each kind is evaluated.
func (r *rowRun) seqs() map[string]uint64 {
	out := map[string]uint64{}
	for _, in := range r.inputs {
		out[in.on] = in.seq
	}
	return out
}

// release lets go of the kinds that are not read any more: their positions would hold the log.
func (r *rowRun) release(ctx context.Context) error {
	for _, on := range ons {
		if on == OnEvents || slices.ContainsFunc(r.inputs, func(in *rowInput) bool { return in.on == on }) {
			continue
		}
		p, err := r.cfg.Log.Position(ctx, r.consumer(), batchKind(on))
		if err != nil {
			return err
		}
		if p.Seq == 0 {
			continue // never read
		}
		last, err := r.cfg.Log.LastSeq(ctx, batchKind(on))
		if err != nil {
			return err
		}
		if last > p.Seq {
			if err := r.cfg.Log.SetPosition(ctx, r.consumer(), batchKind(on), streamlog.Position{Seq: last}); err != nil {
				return err
			}
		}
	}
	return nil
}

// rowMessage is a batch of one of the kinds.
type rowMessage struct {
	in *rowInput
	streamlog.Message
	arrived time.Time
}

// follow reads all inputs ahead until stop is called or one fails, each in its order and together in the
// order in which the log stored them: after a while away no kind may run ahead of the others, whose rows
// would then come too late.
func (r *rowRun) follow(ctx context.Context) (messages <-chan rowMessage, failed <-chan error, stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	all, fail := make(chan rowMessage, roundBatches), make(chan error, len(r.inputs)+1)
	var stops []func()
	var reading sync.WaitGroup
	stop = func() {
		cancel()
		reading.Wait()
		for _, f := range stops {
			f()
		}
	}
	arrived := make(chan rowMessage) // at most one of each input is not passed on yet
	wanted := map[*rowInput]chan struct{}{}
	for _, in := range r.inputs {
		read, bad, end, err := follow(ctx, r.cfg.Log, in.kind, in.seq, nil)
		if err != nil {
			stop()
			return nil, nil, nil, err
		}
		stops = append(stops, end)
		next := make(chan struct{}, 1)
		next <- struct{}{}
		wanted[in] = next
		reading.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-next:
				}
				select {
				case <-ctx.Done():
					return
				case err := <-bad:
					fail <- err
					return
				case m := <-read:
					select {
					case arrived <- rowMessage{in: in, Message: m}:
					case <-ctx.Done():
						return
					}
				}
			}
		})
	}
	from := r.seqs()
	inputs := r.inputs
	reading.Go(func() { fail <- r.merge(ctx, inputs, from, arrived, wanted, all) })
	return all, fail, stop, nil
}

// How often merge asks whether an input that is silent has more, how long it waits for what was said to be
// there, and how old a message is before which nothing can still come to light.
const (
	mergeAsks     = 100 * time.Millisecond
	mergePatience = 2 * time.Second
	mergeSettled  = time.Second
)

// merge passes on what arrived, the earliest stored first, as soon as every input has something or had no
// more when it was asked after that arrived: so that what is judged at once, by what another kind said
// before, is judged as a replay will.
func (r *rowRun) merge(ctx context.Context, inputs []*rowInput, passed map[string]uint64, arrived <-chan rowMessage, wanted map[*rowInput]chan struct{}, out chan<- rowMessage) error {
	heads := map[*rowInput]rowMessage{}
	ends, asked := map[string]uint64{}, map[string]time.Time{}
	timer := time.NewTimer(mergePatience)
	defer timer.Stop()
	for {
		var first *rowMessage
		for _, in := range inputs {
			if m, ok := heads[in]; ok && (first == nil || m.Stored.Before(first.Stored)) {
				first = &m
			}
		}
		missing, wait := false, mergePatience // whether there is more that has not come, and for how long it is waited
		for _, in := range inputs {
			if _, ok := heads[in]; ok || first == nil || len(inputs) == 1 {
				continue
			}
			known := asked[in.on].After(first.arrived) || asked[in.on].After(first.Stored.Add(mergeSettled))
			if !known && passed[in.on] >= ends[in.on] {
				if again := mergeAsks - time.Since(asked[in.on]); again > 0 {
					wait = min(wait, again)
					continue
				}
				asked[in.on] = time.Now()
				last, err := r.cfg.Log.LastSeq(ctx, in.kind)
				if err != nil {
					return err
				}
				ends[in.on] = last
			}
			missing = missing || passed[in.on] < ends[in.on]
		}
		if first == nil || missing || wait < mergePatience {
			timer.Reset(wait)
			select {
			case m := <-arrived:
				m.arrived = time.Now()
				heads[m.in] = m
			case <-timer.C:
				for _, in := range inputs { // what there was has been dropped from the log, or is slow to come
					if _, ok := heads[in]; !ok && wait == mergePatience {
						passed[in.on] = max(passed[in.on], ends[in.on])
					}
				}
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		}
		select {
		case out <- *first:
		case <-ctx.Done():
			return ctx.Err()
		}
		passed[first.in.on] = first.Seq
		delete(heads, first.in)
		wanted[first.in] <- struct{}{}
	}
}
