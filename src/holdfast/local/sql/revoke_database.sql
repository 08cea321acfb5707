revoke all on database {name} from public
