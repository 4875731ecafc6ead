// Collects the built-in objects before a script is loaded, so that they can be frozen after: what a
// script adds while it loads (polyfills) stays, what it would add in a call does not.
(function () {
  'use strict';
  var held = [], protos = {};
  function hold(o) { if (o !== null && (typeof o === 'object' || typeof o === 'function')) held.push(o); }
  hold(globalThis);
  ['Object', 'Function', 'Array', 'String', 'Number', 'Boolean', 'Symbol', 'BigInt', 'Date', 'RegExp', 'Map', 'Set', 'WeakMap',
    'WeakSet', 'Promise', 'ArrayBuffer', 'DataView', 'Int8Array', 'Uint8Array', 'Uint8ClampedArray', 'Int16Array', 'Uint16Array',
    'Int32Array', 'Uint32Array', 'Float16Array', 'Float32Array', 'Float64Array', 'BigInt64Array', 'BigUint64Array', 'Error', 'TypeError',
    'RangeError', 'SyntaxError', 'ReferenceError', 'EvalError', 'URIError'].forEach(function (name) {
    var f = globalThis[name];
    if (f) { hold(f); hold(f.prototype); protos[name] = f.prototype; }
  });
  hold(Math); hold(JSON); hold(console);
  var proto = Object.getPrototypeOf;
  hold(proto(Uint8Array.prototype)); hold(proto(Uint8Array));
  hold(proto([][Symbol.iterator]())); hold(proto(proto([][Symbol.iterator]())));
  hold(proto(function* () { })); hold(proto(function* () { }).prototype);

  var freeze = Object.freeze, define = Object.defineProperty, describe = Object.getOwnPropertyDescriptor;
  // A frozen member of these would also keep objects that inherit it from having their own.
  var own = [[Object.prototype, ['toString', 'valueOf', 'toLocaleString', 'hasOwnProperty', 'constructor']]];
  ['Error', 'TypeError', 'RangeError', 'SyntaxError', 'ReferenceError'].forEach(function (name) {
    own.push([globalThis[name].prototype, ['name', 'message', 'toString', 'constructor']]);
  });
  function overridable(o, key) {
    var d = describe(o, key);
    if (!d || !('value' in d)) return;
    var value = d.value;
    define(o, key, {
      enumerable: d.enumerable, configurable: true,
      get: function () { return value; },
      set: function (v) {
        if (this !== o) define(this, key, { value: v, writable: true, enumerable: true, configurable: true });
      },
    });
  }

  var call = function (f, self, a, b, n) {
    return n === 0 ? invoke(f, self) : n === 1 ? invoke(f, self, a) : invoke(f, self, a, b);
  };
  var invoke = Function.prototype.call.bind(Function.prototype.call);
  var text, dates = Object.create(Date.prototype), string = String.prototype;
  function time(name, f) { define(dates, name, { value: f }); }
  time('toString', function () { return text(this); });
  time('toJSON', function () { return text(this); });
  time(Symbol.toPrimitive, function (hint) { return hint === 'number' ? this.getTime() : text(this); });
  ['split', 'substring', 'substr', 'slice', 'replace', 'indexOf', 'charAt', 'match', 'includes', 'startsWith', 'endsWith', 'concat', 'trim',
    'toUpperCase'].forEach(function (name) {
    var method = string[name];
    if (method) time(name, function (a, b) { return call(method, text(this), a, b, arguments.length); });
  });
  define(dates, 'length', { get: function () { return text(this).length; } });
  hold(dates);
  var toDates = Object.setPrototypeOf, date = Date;

  return {
    held: held,
    protos: protos,
    typed: proto(Uint8Array),
    kinds: [Function.prototype, proto(function* () { }), proto(async function () { })],
    iterators: proto([][Symbol.iterator]()),
    times: function (f) { text = f; },
    date: function (ms) { return toDates(new date(ms), dates); },
    freeze: function () {
      for (var k = 0; k < own.length; k++) for (var j = 0; j < own[k][1].length; j++) overridable(own[k][0], own[k][1][j]);
      for (var i = 1; i < held.length; i++) freeze(held[i]);
    },
  };
})()
