package codec

import (
	"container/list"
	"crypto/sha256"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dop251/goja"
)

// A jsCodec is a script after TS013, or one of the older kind.
type jsCodec struct {
	engine *engine
	script *script
	fresh  bool // a new runtime for every call
	key    [sha256.Size]byte
	places chan struct{}

	idle []*list.Element // guarded by engine.mu, like gone
	gone bool

	strikes atomic.Int32
	rests   atomic.Int64 // until then, Unix ns
}

// Kind is "javascript".
func (c *jsCodec) Kind() string { return "javascript" }

// Decode runs the script on one uplink.
func (c *jsCodec) Decode(in Uplink) (Result, error) {
	var out Result
	err := c.DecodeInto(&in, &out)
	return out, err
}

// DecodeInto does the same into out.
func (c *jsCodec) DecodeInto(in *Uplink, out *Result) error {
	out.Reset()
	if len(in.Bytes) > MaxInput {
		return errorf(ReasonInput, "payload of %d bytes, want at most %d", len(in.Bytes), MaxInput)
	}
	decode := func(r *jsRuntime) error {
		r.res.Reset()
		return r.decode(in, &r.res)
	}
	first := c.strikes.Load() == 0
	r, err := c.with(decode)
	if first && spoiled(err) && !err.stuck {
		// Clock and heap are those of the whole process: a good script may have been stopped for what
		// others did. A bad one will be again.
		if again, e := c.with(decode); e == nil || e.Reason != ReasonSuspended {
			r, err = again, e
		}
	}
	if r != nil {
		// Swapped, not copied: each keeps memory to use again. A runtime given up is not here.
		*out, r.res = r.res, *out
		if err != nil {
			out.Values = out.Values[:0]
		}
		c.put(r, err)
	}
	if err != nil {
		return err
	}
	return nil
}

// with runs f on a runtime of the script, within its bounds, and returns the runtime, for the
// caller to put back; nil where there was none or f is still running on it.
func (c *jsCodec) with(f func(r *jsRuntime) error) (*jsRuntime, *Error) {
	if err := c.resting(); err != nil {
		return nil, err
	}
	c.places <- struct{}{}
	defer func() { <-c.places }()
	c.engine.places <- struct{}{}
	defer func() { <-c.engine.places }()
	if err := c.resting(); err != nil { // since it began to wait
		return nil, err
	}
	r, err := c.get()
	if err == nil {
		err = r.run(CallTime, func() error { return f(r) })
	}
	c.judge(err)
	if err != nil && err.stuck {
		r = nil
	}
	return r, err
}

func (c *jsCodec) resting() *Error {
	until := c.rests.Load()
	if until == 0 || time.Now().UnixNano() >= until {
		return nil
	}
	if until == math.MaxInt64 {
		return errorf(ReasonSuspended, "the script got stuck where nothing can stop it and is not run again until it is changed")
	}
	return errorf(ReasonSuspended, "the script broke its bounds %d times in a row and rests until %s",
		c.strikes.Load(), time.Unix(0, until).UTC().Format(time.RFC3339))
}

// judge counts breaches in a row and suspends the codec after strikesOut, longer each time.
func (c *jsCodec) judge(err *Error) {
	if !spoiled(err) {
		if c.strikes.Load() != 0 && c.rests.Load() != math.MaxInt64 {
			c.strikes.Store(0)
			c.rests.Store(0)
		}
		return
	}
	if err.stuck {
		c.rests.Store(math.MaxInt64)
		return
	}
	if n := c.strikes.Add(1); n >= strikesOut {
		rest := restMost
		if shift := n - strikesOut; shift < 6 {
			rest = min(c.engine.rest<<shift, restMost)
		}
		c.rests.Store(time.Now().Add(rest).UnixNano())
	}
}

// decode calls the script's decoder and normalizer.
func (r *jsRuntime) decode(in *Uplink, out *Result) error {
	variables := goja.Value(goja.Undefined())
	if r.varsNamed || r.entry[entryDecodeUplink] == nil {
		var err error
		if variables, err = r.variables(in.Variables); err != nil {
			return err
		}
	}
	var err error
	bytes, port := r.octets(in.Bytes), r.rt.ToValue(int64(in.FPort))
	x := reader{r: r, out: out}
	var data goja.Value
	switch {
	case r.entry[entryDecodeUplink] != nil:
		input, err := r.input(in, port, bytes, variables)
		if err != nil {
			return err
		}
		v, err := r.entry[entryDecodeUplink](goja.Undefined(), input)
		if err != nil {
			return err
		}
		if data, err = x.output(v, "decodeUplink"); err != nil {
			return err
		}
	case r.entry[entryDecode] != nil:
		if data, err = r.entry[entryDecode](goja.Undefined(), port, bytes, variables); err != nil {
			return err
		}
	case r.entry[entryDecoder] != nil:
		if data, err = r.entry[entryDecoder](goja.Undefined(), bytes, port, variables); err != nil {
			return err
		}
	default:
		return errorf(ReasonThrow, "the script has no decoder any more")
	}
	if len(out.Errors) > 0 {
		return r.report(out)
	}
	if data == nil || goja.IsUndefined(data) {
		if r.entry[entryDecodeUplink] == nil {
			return errorf(ReasonOutput, "the decoder returned nothing")
		}
		data = goja.Null()
	}
	f := flattener{out: out, vals: out.Values, path: r.path[:0], names: &r.names}
	err = x.flat(data, &f, 0)
	out.Values, r.path = f.vals, f.path[:0]
	if err != nil {
		return err
	}
	if f := r.entry[entryNormalize]; f != nil && !goja.IsNull(data) {
		if err := r.normalize(f, data, out); err != nil {
			return err
		}
	}
	return r.report(out)
}

// report ends a result: the console's lines, and the errors as one.
func (r *jsRuntime) report(out *Result) error {
	out.Console = r.host.lines
	if len(out.Errors) == 0 {
		return nil
	}
	out.Values, out.Normalized = out.Values[:0], nil
	return errorf(ReasonErrors, "%s", strings.Join(out.Errors, "; "))
}

// output reads what decodeUplink and its like return and gives back the data in it.
func (x *reader) output(v goja.Value, name string) (goja.Value, error) {
	o, ok := v.(*goja.Object)
	if !ok {
		return nil, errorf(ReasonOutput, "%s returned %.40s, want an object", name, kindOf(v))
	}
	data, warnings, errs := o.Get("data"), o.Get("warnings"), o.Get("errors")
	if data == nil && warnings == nil && errs == nil {
		x.out.warnf("%s returned no data, warnings or errors: all of it was taken for data", name)
		return o, nil
	}
	var err error
	if x.out.Warnings, err = x.messages(warnings, x.out.Warnings); err != nil {
		return nil, err
	}
	x.out.Errors, err = x.messages(errs, x.out.Errors)
	return data, err
}

func kindOf(v goja.Value) string {
	if v == nil || goja.IsUndefined(v) {
		return "nothing"
	}
	if _, ok := v.(*goja.Symbol); ok {
		return "a symbol"
	}
	if s, ok := v.(goja.String); ok && s.Length() > 40 {
		return "a long text"
	}
	return v.String()
}

// input makes the argument of decodeUplink. A script that does not name recvTime gets none: a Date is
// the dearest part of it.
func (r *jsRuntime) input(in *Uplink, port, bytes, variables goja.Value) (goja.Value, error) {
	input := r.rt.NewObject()
	if err := input.Set("fPort", port); err != nil {
		return nil, err
	}
	if err := input.Set("bytes", bytes); err != nil {
		return nil, err
	}
	if !goja.IsUndefined(variables) {
		if err := input.Set("variables", variables); err != nil {
			return nil, err
		}
	}
	r.recv, r.recvDate = in.RecvTime, nil
	if in.RecvTime.IsZero() || !r.recvNamed {
		return input, nil
	}
	v, err := r.newDate(goja.Undefined(), r.rt.ToValue(in.RecvTime.UnixMilli()))
	if err != nil {
		return nil, err
	}
	r.recvDate, _ = v.(*goja.Object)
	return input, input.Set("recvTime", v)
}

func (r *jsRuntime) octets(b []byte) goja.Value {
	values := octets()
	items := make([]any, len(b))
	for i, c := range b {
		items[i] = values[c]
	}
	return r.rt.NewArray(items...)
}

func (r *jsRuntime) variables(vars map[string]string) (goja.Value, error) {
	if vars == nil {
		return goja.Undefined(), nil
	}
	o := r.rt.NewObject()
	for k, v := range vars {
		if err := o.Set(k, v); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// DecodeDownlink runs decodeDownlink.
func (c *jsCodec) DecodeDownlink(in Uplink) (Result, error) {
	if len(in.Bytes) > MaxInput {
		return Result{}, errorf(ReasonInput, "payload of %d bytes, want at most %d", len(in.Bytes), MaxInput)
	}
	var out Result
	r, rerr := c.with(func(r *jsRuntime) error {
		f := r.entry[entryDecodeDownlink]
		if f == nil {
			return errorf(ReasonThrow, "the script has no decodeDownlink")
		}
		input, err := r.input(&in, r.rt.ToValue(int64(in.FPort)), r.octets(in.Bytes), goja.Undefined())
		if err != nil {
			return err
		}
		v, err := f(goja.Undefined(), input)
		if err != nil {
			return err
		}
		x := reader{r: r, out: &out}
		data, err := x.output(v, "decodeDownlink")
		if err == nil && len(out.Errors) == 0 {
			f := flattener{out: &out}
			err = x.flat(data, &f, 0)
			out.Values = f.vals
		}
		if err != nil {
			return err
		}
		return r.report(&out)
	})
	if r == nil {
		return Result{}, rerr
	}
	c.put(r, rerr)
	if rerr != nil {
		out.Values = nil
		return out, rerr
	}
	return out, nil
}

// EncodeDownlink runs encodeDownlink, or the older Encode(fPort, data) or Encoder(data, port).
func (c *jsCodec) EncodeDownlink(data any, variables map[string]string) (Downlink, error) {
	var out Downlink
	r, rerr := c.with(func(r *jsRuntime) error {
		v, err := r.value(data, 0)
		if err != nil {
			return err
		}
		vars, err := r.variables(variables)
		if err != nil {
			return err
		}
		var res Result
		x := reader{r: r, out: &res}
		var bytes goja.Value
		switch {
		case r.entry[entryEncodeDownlink] != nil:
			input := r.rt.NewObject()
			must(input.Set("data", v))
			if !goja.IsUndefined(vars) {
				must(input.Set("variables", vars))
			}
			v, err := r.entry[entryEncodeDownlink](goja.Undefined(), input)
			if err != nil {
				return err
			}
			o, ok := v.(*goja.Object)
			if !ok {
				return errorf(ReasonOutput, "encodeDownlink returned %s, want an object", kindOf(v))
			}
			if out.Warnings, err = x.messages(o.Get("warnings"), nil); err != nil {
				return err
			}
			if out.Errors, err = x.messages(o.Get("errors"), nil); err != nil {
				return err
			}
			if len(out.Errors) > 0 {
				return errorf(ReasonErrors, "%s", strings.Join(out.Errors, "; "))
			}
			if p := o.Get("fPort"); p != nil && !goja.IsUndefined(p) {
				if f := p.ToFloat(); !(f >= 0 && f <= 255 && f == math.Trunc(f)) {
					return errorf(ReasonOutput, "fPort %v, want 0 to 255", f)
				}
				out.FPort = uint8(p.ToInteger())
			}
			bytes = o.Get("bytes")
		case r.entry[entryEncode] != nil:
			bytes, err = r.entry[entryEncode](goja.Undefined(), r.rt.ToValue(1), v, vars)
		case r.entry[entryEncoder] != nil:
			bytes, err = r.entry[entryEncoder](goja.Undefined(), v, r.rt.ToValue(1))
		default:
			return errorf(ReasonThrow, "the script has no encodeDownlink")
		}
		if err != nil {
			return err
		}
		out.Bytes, err = x.bytes(bytes)
		return err
	})
	if r == nil {
		return Downlink{}, rerr
	}
	c.put(r, rerr)
	if rerr != nil {
		return out, rerr
	}
	return out, nil
}

// bytes reads a list of numbers 0 to 255; negative ones count as signed bytes.
func (x *reader) bytes(v goja.Value) ([]byte, error) {
	t, err := x.tree(v, 0)
	if err != nil {
		return nil, err
	}
	if _, none := t.(absent); none || t == nil {
		return nil, nil
	}
	list, ok := t.([]any)
	if !ok || len(list) > MaxInput {
		return nil, errorf(ReasonOutput, "bytes are no list of at most %d numbers", MaxInput)
	}
	out := make([]byte, len(list))
	for i, e := range list {
		f, ok := e.(float64)
		if !ok || f < -128 || f > 255 || f != math.Trunc(f) {
			return nil, errorf(ReasonOutput, "byte %d is %v, want 0 to 255", i, e)
		}
		out[i] = byte(int(f))
	}
	return out, nil
}
