select to_regclass('versions') is not null
