-- Who somebody is at an identity provider, if one may sign them in: {"issuer", "subject"}.
ALTER TABLE users ADD COLUMN identity TEXT;
