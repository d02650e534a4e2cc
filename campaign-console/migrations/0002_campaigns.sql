CREATE TABLE campaigns (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text        NOT NULL CHECK (char_length(name) BETWEEN 1 AND 120),
    channel      text        NOT NULL CHECK (channel IN ('email', 'social', 'search', 'display', 'print')),
    audience     text        NOT NULL DEFAULT '',
    message      text        NOT NULL DEFAULT '',
    budget_cents bigint      NOT NULL DEFAULT 0 CHECK (budget_cents >= 0),
    status       text        NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'scheduled', 'archived')),
    starts_at    timestamptz,
    ends_at      timestamptz,
    revision     integer     NOT NULL DEFAULT 1,
    created_by   bigint      NOT NULL REFERENCES accounts (id),
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    CHECK (ends_at IS NULL OR starts_at IS NULL OR ends_at > starts_at),
    CHECK (status <> 'scheduled' OR starts_at IS NOT NULL)
);

CREATE INDEX campaigns_status_updated_idx ON campaigns (status, updated_at DESC, id DESC);
