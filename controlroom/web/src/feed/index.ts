// The feed client, for the page and for anybody else's: FeedClient runs wherever there is a WebSocket.
export { FeedClient, realClock, type Clock, type Connection, type Health, type Options, type Socket } from './client';
export { Backoff } from './backoff';
export { BinaryBody, binaryHead, binaryItems, type BinaryHead } from './binary';
export * from './protocol';
export { type Handlers, type Request } from './subscription';
export { AssetTable, mercatorX, mercatorY, type DomainCount, type Patch, type Row, type RowQuery, type SortKey } from './table';
