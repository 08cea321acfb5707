select saga_id::text, state from fence where state in ('RUNNING', 'DONE', 'UNDOING')
