select id, department, age from {{ source('retail', 'customer_purchases') }} where age is not null
