// What codecs use of Node's Buffer and the web's TextDecoder and TextEncoder. Defined on first use:
// most scripts never ask. The names below are put together at run time, so they stand here for trim:
// getInt8 getUint8 getInt16 getUint16 getInt32 getUint32 getFloat32 getFloat64
// setInt8 setUint8 setInt16 setUint16 setInt32 setUint32 setFloat32 setFloat64
(function (native) {
  'use strict';
  function lazy(name, make) {
    Object.defineProperty(globalThis, name, {
      configurable: true,
      get: function () { var v = make(); set(v); return v; },
      set: set,
    });
    function set(v) { Object.defineProperty(globalThis, name, { value: v, writable: true, configurable: true }); }
  }

  lazy('TextDecoder', function () {
    return class TextDecoder {
      constructor(label) { this.encoding = label === undefined ? 'utf-8' : String(label).toLowerCase(); }
      decode(b) { return b === undefined ? '' : native.decode(b, this.encoding); }
    };
  });
  lazy('TextEncoder', function () {
    return class TextEncoder {
      get encoding() { return 'utf-8'; }
      encode(s) { return new Uint8Array(native.encode(s === undefined ? '' : s, 'utf8')); }
    };
  });

  lazy('Buffer', function () {
    function make(u8) { Object.setPrototypeOf(u8, Buffer.prototype); return u8; }
    function Buffer(v, encoding) { return typeof v === 'number' ? Buffer.alloc(v) : Buffer.from(v, encoding); }
    Buffer.from = function (v, encoding, length) {
      if (typeof v === 'string') return make(new Uint8Array(native.encode(v, encoding)));
      if (v instanceof ArrayBuffer) return make(new Uint8Array(v, encoding, length));
      if (v && v.type === 'Buffer' && Array.isArray(v.data)) v = v.data;
      return make(new Uint8Array(v));
    };
    Buffer.alloc = function (n, fill) {
      var b = make(new Uint8Array(n));
      return fill === undefined ? b : b.fill(fill);
    };
    Buffer.allocUnsafe = Buffer.alloc;
    Buffer.isBuffer = function (v) { return v instanceof Buffer; };
    Buffer.byteLength = function (s, encoding) { return Buffer.from(s, encoding).length; };
    Buffer.concat = function (list, total) {
      var all = [];
      for (var i = 0; i < list.length; i++) for (var j = 0; j < list[i].length; j++) all.push(list[i][j]);
      if (total !== undefined) { all = all.slice(0, total); while (all.length < total) all.push(0); }
      return Buffer.from(all);
    };
    Buffer.prototype = Object.create(Uint8Array.prototype, { constructor: { value: Buffer, writable: true, configurable: true } });
    var p = Buffer.prototype;
    function method(name, f) { Object.defineProperty(p, name, { value: f, writable: true, configurable: true }); }
    function view(b) { return new DataView(b.buffer, b.byteOffset, b.byteLength); }
    method('toString', function (encoding, start, end) {
      return native.decode(new Uint8Array(Uint8Array.prototype.slice.call(this, start, end)), encoding === undefined ? 'utf8' : encoding);
    });
    method('toJSON', function () { return { type: 'Buffer', data: Array.from(this) }; });
    method('slice', function (a, b) { return make(Uint8Array.prototype.subarray.call(new Uint8Array(this.buffer, this.byteOffset, this.byteLength), a, b)); });
    method('subarray', p.slice);
    method('equals', function (o) {
      if (this.length !== o.length) return false;
      for (var i = 0; i < this.length; i++) if (this[i] !== o[i]) return false;
      return true;
    });
    method('copy', function (to, at, start, end) {
      at = at || 0; start = start || 0; end = end === undefined ? this.length : end;
      var n = Math.max(0, Math.min(end - start, to.length - at));
      for (var i = 0; i < n; i++) to[at + i] = this[start + i];
      return n;
    });
    [['Int8', 1], ['Uint8', 1], ['Int16', 2], ['Uint16', 2], ['Int32', 4], ['Uint32', 4], ['Float32', 4], ['Float64', 8]].forEach(function (t) {
      var kind = t[0], size = t[1];
      var name = kind === 'Float32' ? 'Float' : kind === 'Float64' ? 'Double' : kind;
      (size === 1 ? [['', true]] : [['LE', true], ['BE', false]]).forEach(function (e) {
        function read(at) { return view(this)['get' + kind](at === undefined ? 0 : at, e[1]); }
        function write(v, at) { at = at === undefined ? 0 : at; view(this)['set' + kind](at, v, e[1]); return at + size; }
        method('read' + name + e[0], read);
        method('write' + name + e[0], write);
        if (name.indexOf('Uint') === 0) {
          method('readUInt' + name.slice(4) + e[0], read);
          method('writeUInt' + name.slice(4) + e[0], write);
        }
      });
    });
    [['LE', true], ['BE', false]].forEach(function (e) {
      function unsigned(at, n) {
        var v = 0;
        for (var i = 0; i < n; i++) {
          var b = this[at + (e[1] ? n - 1 - i : i)];
          if (b === undefined) throw new RangeError('The value of "offset" is out of range');
          v = v * 256 + b;
        }
        return v;
      }
      method('readUInt' + e[0], unsigned);
      method('readUint' + e[0], unsigned);
      method('readInt' + e[0], function (at, n) {
        var v = unsigned.call(this, at, n), top = Math.pow(2, 8 * n);
        return v >= top / 2 ? v - top : v;
      });
    });
    return Buffer;
  });
})
