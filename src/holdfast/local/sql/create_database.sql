-- Creates a database that this role owns.
create database {name} owner {owner}
