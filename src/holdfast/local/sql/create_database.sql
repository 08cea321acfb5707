create database {name} owner {owner}
