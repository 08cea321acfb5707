-- Pruned day by day: vacuumed before a fifth of them is dead.
alter table saga set (autovacuum_vacuum_scale_factor = 0.05);
alter table saga_event set (autovacuum_vacuum_scale_factor = 0.05);
