// The parts of the page that its first view does without: one chunk, brought after it or when one of them is shown.
export { default as AlarmHealth } from './AlarmHealth.svelte';
export { default as AlarmsView } from './AlarmsView.svelte';
export { default as AssetPanel } from './AssetPanel.svelte';
export { default as AssetTable } from './AssetTable.svelte';
export { default as CamerasView } from './CamerasView.svelte';
export { default as DomainsView } from './DomainsView.svelte';
export { default as RadioView } from './RadioView.svelte';
export { default as RulesView } from './RulesView.svelte';
export { default as Statement } from './Statement.svelte';
export { default as SystemView } from './SystemView.svelte';
