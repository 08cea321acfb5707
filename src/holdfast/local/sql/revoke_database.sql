-- Takes from all other roles the right to connect to this database.
revoke all on database {name} from public
