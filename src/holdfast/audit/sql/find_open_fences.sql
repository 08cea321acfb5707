-- Returns the steps that are under way, being undone, or done and not yet confirmed.
select saga_id::text, state from fence where state in ('RUNNING', 'DONE', 'UNDOING')
