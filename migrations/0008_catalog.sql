-- Products and zones are owned by the object `Catalog` in Restate. What is here of them
-- is a copy, like the read model, of the version that is written beside them. Version 0:
-- known from this file alone (the demo's seed, an older gateway), and told to Restate
-- soon.

ALTER TABLE products ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
-- Since when it is no longer sold, in milliseconds since the epoch.
ALTER TABLE products ADD COLUMN archived_at INTEGER;
-- The whole CatalogProduct as JSON: who has changed it and when, its prices. NULL: as
-- long as Restate has not been told of it.
ALTER TABLE products ADD COLUMN record TEXT;

ALTER TABLE shipping_zones ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
-- Since when nothing is shipped there any more.
ALTER TABLE shipping_zones ADD COLUMN archived_at INTEGER;
-- The whole CatalogZone as JSON.
ALTER TABLE shipping_zones ADD COLUMN record TEXT;
