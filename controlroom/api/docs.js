'use strict';
// Renders /openapi.json as a list of operations. Text only ever becomes text nodes.

function el(tag, props, ...children) {
  const e = Object.assign(document.createElement(tag), props);
  e.append(...children);
  return e;
}

function shape(schema, all, depth) {
  if (!schema) return null;
  if (schema.$ref) {
    const name = schema.$ref.split('/').pop();
    return depth > 4 ? name : shape(all[name], all, depth);
  }
  if (schema.items && [schema.type].flat().includes('array')) return [shape(schema.items, all, depth + 1)];
  if (schema.properties) {
    const out = {};
    for (const [name, s] of Object.entries(schema.properties)) out[name] = shape(s, all, depth + 1);
    return out;
  }
  const type = Array.isArray(schema.type) ? schema.type.join(' or ') : schema.type || 'any';
  return schema.enum ? schema.enum.join(' | ') : type + (schema.format ? ` (${schema.format})` : '');
}

function bodies(content, all) {
  return Object.entries(content || {}).map(([media, m]) =>
    el('div', {}, el('p', {}, el('code', {}, media)), el('pre', {}, JSON.stringify(shape(m.schema, all, 0), null, 2) || '')));
}

function parameters(list) {
  const rows = list.map((p) => {
    const s = p.schema || {};
    const allowed = [s.enum && s.enum.join(' | '), s.minimum !== undefined && `${s.minimum} to ${s.maximum}`, s.default !== undefined && `default ${s.default}`]
      .filter(Boolean).join('; ');
    return el('tr', {}, el('td', {}, el('code', {}, p.name)), el('td', {}, `${p.in}${p.required ? ', required' : ''}`), el('td', {}, allowed), el('td', {}, p.description || ''));
  });
  return el('table', {}, el('tbody', {}, ...rows));
}

function operation(method, path, op, all) {
  const d = el('details', {}, el('summary', {}, el('span', { className: 'method' }, method.toUpperCase()), el('code', {}, path), ' ', el('span', { className: 'what' }, op.summary || '')));
  if (op.description) d.append(el('p', {}, op.description));
  if (op.parameters && op.parameters.length) d.append(el('h3', {}, 'Parameters'), parameters(op.parameters));
  if (op.requestBody) d.append(el('h3', {}, 'Body'), ...bodies(op.requestBody.content, all));
  d.append(el('h3', {}, 'Answers'));
  for (const [status, r] of Object.entries(op.responses || {})) {
    d.append(el('p', {}, el('strong', {}, status), ' ', r.description || ''));
    if (status < '300') d.append(...bodies(r.content, all));
  }
  return d;
}

fetch('/openapi.json').then((r) => r.json()).then((doc) => {
  const all = (doc.components && doc.components.schemas) || {};
  const groups = new Map();
  for (const [path, item] of Object.entries(doc.paths)) {
    for (const [method, op] of Object.entries(item)) {
      const tag = (op.tags && op.tags[0]) || 'other';
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operation(method, path, op, all));
    }
  }
  document.getElementById('about').replaceChildren(`${doc.info.description || ''} Version ${doc.info.version}. `, el('a', { href: '/openapi.json' }, 'OpenAPI document'), '.');
  for (const [tag, list] of groups) document.getElementById('operations').append(el('h2', {}, tag), ...list);
}).catch((err) => {
  document.getElementById('about').textContent = `The description could not be read: ${err}`;
});
