grant connect, temporary on database {name} to {reader}
