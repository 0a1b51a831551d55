select department, count(*) as purchases from {{ ref('purchases') }} group by 1
