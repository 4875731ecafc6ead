import { translate, type Lang } from '../i18n/translate';
import type { Key } from '../i18n/en';
import en from '../i18n/en';
import type { Metric } from '../api/client';
import type { Value } from '../feed/protocol';

const locales: Record<Lang, string> = { it: 'it-IT', en: 'en-GB' };
const cache = new Map<string, Intl.NumberFormat | Intl.DateTimeFormat>();

function numberFormat(lang: Lang, options: Intl.NumberFormatOptions): Intl.NumberFormat {
  const key = lang + JSON.stringify(options);
  let f = cache.get(key) as Intl.NumberFormat | undefined;
  if (!f) cache.set(key, (f = new Intl.NumberFormat(locales[lang], options)));
  return f;
}

function dateFormat(lang: Lang, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = lang + JSON.stringify(options);
  let f = cache.get(key) as Intl.DateTimeFormat | undefined;
  if (!f) cache.set(key, (f = new Intl.DateTimeFormat(locales[lang], options)));
  return f;
}

/** A count, grouped from four digits on: 12.345 in Italian, 12,345 in English. */
export function count(lang: Lang, n: number): string {
  return numberFormat(lang, { maximumFractionDigits: 0, useGrouping: 'always' } as Intl.NumberFormatOptions).format(n);
}

/** A measured number: four significant digits below a thousand, whole above, never in exponents. */
export function measure(lang: Lang, v: number): string {
  if (!Number.isFinite(v)) return '–';
  const size = Math.abs(v);
  if (size !== 0 && size < 0.001) return numberFormat(lang, { maximumSignificantDigits: 2 }).format(v);
  if (size >= 1000) return numberFormat(lang, { maximumFractionDigits: Number.isInteger(v) ? 0 : 1 }).format(v);
  return numberFormat(lang, { maximumSignificantDigits: 4 }).format(v);
}

/** A rate for the system strip: one decimal under ten. */
export function rate(lang: Lang, perSecond: number): string {
  return numberFormat(lang, { maximumFractionDigits: perSecond < 10 ? 1 : 0 }).format(perSecond);
}

/** Seconds with one decimal, as the feed's age is shown: 0,4 or 0.4. */
export function seconds(lang: Lang, ms: number): string {
  return numberFormat(lang, { minimumFractionDigits: 1, maximumFractionDigits: 1 }).format(Math.max(0, ms) / 1000);
}

/** A coordinate with five decimals, about a metre. */
export function degrees(lang: Lang, v: number): string {
  return numberFormat(lang, { minimumFractionDigits: 5, maximumFractionDigits: 5 }).format(v);
}

/** Time of day; with the day before it when it was not today. */
export function clock(lang: Lang, ms: number, now: number): string {
  const time = dateFormat(lang, { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false }).format(ms);
  if (new Date(ms).toDateString() === new Date(now).toDateString()) return time;
  return `${dateFormat(lang, { day: '2-digit', month: '2-digit' }).format(ms)} ${time}`;
}

/** A day by standard time, UTC+1 all the year round, by which the limits of the air are told. */
export function standardDay(lang: Lang, ms: number): string {
  return dateFormat(lang, { dateStyle: 'medium', timeZone: 'Etc/GMT-1' }).format(ms);
}

export function fullTime(lang: Lang, ms: number): string {
  return dateFormat(lang, { dateStyle: 'medium', timeStyle: 'medium', hour12: false }).format(ms);
}

/** How long ago, in the unit a person would say. */
export function ago(lang: Lang, ms: number, now: number): string {
  const s = Math.round((now - ms) / 1000);
  if (s < 1) return translate(lang, 'time.now');
  if (s < 100) return translate(lang, 'time.seconds', { n: s });
  if (s < 100 * 60) return translate(lang, 'time.minutes', { n: Math.round(s / 60) });
  if (s < 48 * 3600) return translate(lang, 'time.hours', { n: Math.round(s / 3600) });
  return translate(lang, 'time.days', { n: Math.round(s / 86400) });
}

// UCUM codes as people write them; what is not here is shown as it is.
const units: Record<string, string> = {
  '1': '',
  Cel: '°C',
  'ug/m3': 'µg/m³',
  'mg/m3': 'mg/m³',
  'dB[A]': 'dB(A)',
  'dB[SPL]': 'dB',
  dB: 'dB',
  deg: '°',
  'W/m2': 'W/m²',
  'kW.h': 'kWh',
  'W.h': 'Wh',
  '[ppm]': 'ppm',
  '[ppb]': 'ppb',
  '10*-6': 'ppm',
  '10*-9': 'ppb',
  'L/s': 'l/s',
  'm3/h': 'm³/h',
  'm3/s': 'm³/s',
  m2: 'm²',
  m3: 'm³',
  'km/h': 'km/h',
  '/h': '/h',
  '/min': '/min',
};

/** A UCUM code for people; annotations such as {vehicles} are kept without their braces. */
export function unit(ucum: string | undefined): string {
  if (!ucum) return '';
  if (ucum in units) return units[ucum];
  return ucum.replace(/^1\{/, '{').replace(/[{}]/g, '').replace(/^\//, '/');
}

/** The profile's label in the language, else any, else the metric's name with spaces. */
export function metricLabel(lang: Lang, name: string, metric?: Metric): string {
  const label = metric?.label?.[lang] ?? metric?.label?.en ?? metric?.label?.it;
  if (label) return label;
  return name.replace(/_/g, ' ');
}

/** A current value with its unit: text as it is, numbers localised, missing as a dash. */
export function value(lang: Lang, v: Value | undefined, metric?: Metric): string {
  if (v === null || v === undefined) return '–';
  if (typeof v === 'boolean') return translate(lang, v ? 'value.on' : 'value.off');
  if (typeof v === 'string') return v;
  const u = unit(metric?.unit);
  return u ? `${measure(lang, v)} ${u}` : measure(lang, v);
}

export function domainLabel(lang: Lang, domain: string): string {
  const key = `domain.${domain || 'unknown'}`;
  if (key in en) return translate(lang, key as Key);
  return domain.charAt(0).toUpperCase() + domain.slice(1).replace(/[_-]/g, ' ');
}

/** What a device says of itself in words; what is not known as it says it. */
export function textLabel(lang: Lang, text: string): string {
  const key = `text.${text}`;
  return key in en ? translate(lang, key as Key) : text;
}

/** A class of objects in words; one that is not known as it is. */
export function classLabel(lang: Lang, name: string): string {
  const key = `class.${name}`;
  return key in en ? translate(lang, key as Key) : name;
}
